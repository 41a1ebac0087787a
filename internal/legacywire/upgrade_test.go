package legacywire

import (
	"regexp"
	"strings"
	"testing"
)

var ids = regexp.MustCompile(`\A[A-Za-z0-9._:-]{1,128}\z`)

var (
	long128 = strings.Repeat("w", 128)
	jwt     = "eyJhbGciOiJFUzI1NiJ9.eyJqdGkiOiIxIn0.c2ln"
)

var queries = []struct {
	name, raw string
	want      Query
	err       error
}{
	{"as daemons send it", "role=workspace-daemon&workspaceId=w&runtimeTargetId=r", Query{Daemon, "w", "r", ""}, nil},
	{"as browsers send it", "role=client&workspaceId=w1&runtimeTargetId=r1", Query{Client, "w1", "r1", ""}, nil},
	{"as workers send it", "role=worker&workspaceId=w1", Query{Worker, "w1", "", ""}, nil},
	{"in another order", "runtimeTargetId=a&workspaceId=b&role=client", Query{Client, "b", "a", ""}, nil},
	{"unknown parameters", "x=1&role=client&&workspaceId=b&=&y", Query{Client, "b", "", ""}, nil},
	{"every character", "role=client&workspaceId=AZaz09._:-", Query{Client, "AZaz09._:-", "", ""}, nil},
	{"percent-encoded values", "role=%63lient&workspaceId=a%3ab&runtimeTargetId=%2E", Query{Client, "a:b", ".", ""}, nil},
	{"percent-encoded names", "r%6fle=client&%77orkspaceId=b", Query{Client, "b", "", ""}, nil},
	{"128 characters", "role=client&workspaceId=" + long128 + "&runtimeTargetId=" + long128,
		Query{Client, long128, long128, ""}, nil},
	{"the first counts", "role=client&role=worker&workspaceId=a&workspaceId=!&runtimeTargetId=b&runtimeTargetId=c",
		Query{Client, "a", "b", ""}, nil},
	{"the first counts, however it is spelt", "%72ole=client&role=x&workspaceId=a", Query{Client, "a", "", ""}, nil},
	{"a fragment", "role=client&workspaceId=a#&runtimeTargetId=b", Query{Client, "a", "", ""}, nil},
	{"a token", "role=client&workspaceId=a&token=+" + jwt + "%20", Query{Client, "a", "", jwt}, nil},
	{"a second token", "role=client&workspaceId=a&token=1&token=" + jwt, Query{Client, "a", "", "1"}, nil},

	{"empty", "", Query{}, errRole},
	{"no role", "workspaceId=a", Query{}, errRole},
	{"an empty role", "role=&workspaceId=a", Query{}, errRole},
	{"the first role is bad", "role=x&role=client&workspaceId=a", Query{}, errRole},
	{"the role of a claim", "role=daemon&workspaceId=a", Query{}, errRole},
	{"the role in capitals", "role=Client&workspaceId=a", Query{}, errRole},
	{"the role with a space", "role=client+&workspaceId=a", Query{}, errRole},
	{"a name in capitals", "Role=client&workspaceId=a", Query{}, errRole},
	{"separated by semicolons", "role=client;workspaceId=a", Query{}, errRole},
	{"no workspace", "role=client", Query{}, errWorkspace},
	{"an empty workspace", "role=client&workspaceId=", Query{}, errWorkspace},
	{"a workspace without a value", "role=client&workspaceId", Query{}, errWorkspace},
	{"129 characters", "role=client&workspaceId=" + long128 + "w", Query{}, errWorkspace},
	{"a plus, which is a space", "role=client&workspaceId=a+b", Query{}, errWorkspace},
	{"an encoded plus", "role=client&workspaceId=a%2Bb", Query{}, errWorkspace},
	{"a slash", "role=client&workspaceId=a/b", Query{}, errWorkspace},
	{"a line feed at the end", "role=client&workspaceId=a%0a", Query{}, errWorkspace},
	{"encoded twice", "role=client&workspaceId=%2561", Query{}, errWorkspace},
	{"a malformed percent sign is itself", "role=client&workspaceId=a%4", Query{}, errWorkspace},
	{"not ASCII", "role=client&workspaceId=%c3%a9", Query{}, errWorkspace},
	{"an empty target", "role=client&workspaceId=a&runtimeTargetId=", Query{}, errTarget},
	{"a target without a value", "role=client&workspaceId=a&runtimeTargetId", Query{}, errTarget},
	{"a bad target", "role=worker&workspaceId=a&runtimeTargetId=%00", Query{}, errTarget},
	{"a long target", "role=client&workspaceId=a&runtimeTargetId=" + long128 + "w", Query{}, errTarget},
}

func TestAQueryIsReadAsABrowserWritesIt(t *testing.T) {
	for _, c := range queries {
		if got, err := ParseQuery(c.raw); got != c.want || (c.err != nil || err != nil) && err != c.err {
			t.Errorf("%s: got %+v, %v, want %+v, %v", c.name, got, err, c.want, c.err)
		}
	}
}

var offers = []struct {
	name     string
	lines    []string
	selected string
	token    string
	isToken  bool // that which is selected
	bad      bool
}{
	{"none", nil, "", "", false, false},
	{"a token alone, which nothing else can be selected for", []string{"auth." + jwt}, "auth." + jwt, jwt, true, false},
	{"a name, then a token", []string{"viewport.v1, auth." + jwt}, "viewport.v1", jwt, false, false},
	{"a token, then a name", []string{"auth." + jwt + ", viewport.v1"}, "viewport.v1", jwt, false, false},
	{"a token between names", []string{"a,auth." + jwt + ",b"}, "a", jwt, false, false},
	{"two lines", []string{"auth." + jwt, "viewport.v1"}, "viewport.v1", jwt, false, false},
	{"names without a token", []string{"viewport.v1, viewport.v2"}, "viewport.v1", "", false, false},
	{"tabs and blanks", []string{" \t viewport.v1\t ,\t auth." + jwt + " "}, "viewport.v1", jwt, false, false},
	{"two tokens: the first", []string{"auth." + jwt + ", auth.0123456789"}, "auth." + jwt, jwt, true, false},
	{"a short one, then a token", []string{"auth.v1, auth." + jwt}, "auth.v1", jwt, true, false},
	{"9 characters", []string{"auth.123456789"}, "auth.123456789", "", true, false},
	{"10 characters", []string{"auth.1234567890"}, "auth.1234567890", "1234567890", true, false},
	{"4,096 characters", []string{"a, auth." + strings.Repeat("t", 4096)}, "a", strings.Repeat("t", 4096), false, false},
	{"4,097 characters", []string{"a, auth." + strings.Repeat("t", 4097)}, "a", "", false, false},
	{"the prefix in capitals is a name", []string{"AUTH." + jwt}, "AUTH." + jwt, "", false, false},
	{"percent signs are not decoded", []string{"a, auth.%41%41%41%41"}, "a", "%41%41%41%41", false, false},

	{"an empty header", []string{""}, "", "", false, true},
	{"a blank header", []string{" "}, "", "", false, true},
	{"an empty entry", []string{"a,,auth." + jwt}, "", jwt, false, true},
	{"a comma at the end", []string{"auth." + jwt + ","}, "", jwt, false, true},
	{"a comma at the start", []string{",auth." + jwt}, "", jwt, false, true},
	{"an empty line", []string{"auth." + jwt, ""}, "", jwt, false, true},
	{"a name twice", []string{"a, auth." + jwt + ", a"}, "", jwt, false, true},
	{"a token twice", []string{"auth." + jwt, "auth." + jwt}, "", jwt, false, true},
	{"a blank inside", []string{"a b, auth." + jwt}, "", jwt, false, true},
	{"quotes", []string{`"a", auth.` + jwt}, "", jwt, false, true},
	{"base64 with a slash", []string{"auth.aaaaaaaaa/a="}, "", "aaaaaaaaa/a=", false, true},
	{"not ASCII", []string{"\xe9, auth." + jwt}, "", jwt, false, true},
	{"a no-break space", []string{"a,\xa0auth." + jwt}, "", jwt, false, true},
}

func TestATokenIsSelectedAsSubprotocolOnlyIfNothingElseWasOffered(t *testing.T) {
	for _, c := range offers {
		got, err := ParseOffer(c.lines)
		if want := (Offer{c.selected, c.isToken, c.token}); got != want || (err != nil) != c.bad {
			t.Errorf("%s: got %+v, %v, want %+v", c.name, got, err, want)
		}
	}
}

func TestTheFirstSourceWithAnAcceptableTokenCounts(t *testing.T) {
	offer, err := ParseOffer([]string{"viewport.v1, auth.from-the-offer"})
	if err != nil {
		t.Fatal(err)
	}
	query, err := ParseQuery("role=client&workspaceId=a&token=from-the-query")
	if err != nil {
		t.Fatal(err)
	}
	long := strings.Repeat("t", 4096)
	for _, c := range []struct {
		name, authorization string
		offer               Offer
		query               Query
		dev                 bool
		want                string
	}{
		{"all three", "Bearer from-the-header", offer, query, true, "from-the-header"},
		{"offer and query", "", offer, query, true, "from-the-offer"},
		{"the query", "", Offer{}, query, true, "from-the-query"},
		{"the query, where it is not allowed", "", Offer{}, query, false, ""},
		{"header and query, where that is not allowed", "Bearer from-the-header", Offer{}, query, false,
			"from-the-header"},
		{"nothing", "", Offer{}, Query{}, true, ""},
		{"the scheme in any case", "bEARER from-the-header", Offer{}, Query{}, false, "from-the-header"},
		{"blanks and tabs", "Bearer \t from-the-header \t", Offer{}, Query{}, false, "from-the-header"},
		{"a no-break space in Latin-1", "Bearer\xa0from-the-header\xa0", Offer{}, Query{}, false, "from-the-header"},
		{"another byte of Latin-1 is part of it", "Bearer \xe9-the-header\x85", Offer{}, Query{}, false,
			"\xe9-the-header\x85"},
		{"a blank inside is part of it", "Bearer from the header", Offer{}, Query{}, false, "from the header"},
		{"another scheme", "Basic from-the-header", offer, Query{}, false, "from-the-offer"},
		{"no scheme", "from-the-header", Offer{}, Query{}, false, ""},
		{"the scheme alone", "Bearer", offer, Query{}, false, "from-the-offer"},
		{"the scheme and blanks", "Bearer          ", offer, Query{}, false, "from-the-offer"},
		{"no blank", "Bearerfrom-the-header", Offer{}, Query{}, false, ""},
		{"a longer scheme", "BearerX from-the-header", Offer{}, Query{}, false, ""},
		{"something before it", "x Bearer from-the-header", Offer{}, Query{}, false, ""},
		{"9 characters, so the next source", "Bearer 123456789", offer, query, true, "from-the-offer"},
		{"10 characters", "Bearer 1234567890", offer, query, true, "1234567890"},
		{"4,096 characters", "Bearer " + long, offer, query, true, long},
		{"4,097 characters, so the next source", "Bearer " + long + "t", offer, query, true, "from-the-offer"},
		{"a short token in the query", "", Offer{}, Query{token: "123456789"}, true, ""},
	} {
		got, err := Token(c.authorization, c.offer, c.query, c.dev)
		if got != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%s: got %q, %v, want %q", c.name, got, err, c.want)
		}
	}
}
