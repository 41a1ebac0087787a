package secrets_test

import (
	"bytes"
	"debug/elf"
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"maps"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// outward are the names by which Go code reaches beyond its process, by the package that has them; "*" is all names.
var outward = map[string][]string{
	"net": {"Dial", "DialTimeout", "DialTCP", "DialUDP", "DialUnix", "DialIP", "Dialer", "Resolver", "DefaultResolver",
		"LookupAddr", "LookupCNAME", "LookupHost", "LookupIP", "LookupMX", "LookupNS", "LookupPort", "LookupSRV", "LookupTXT",
		"ResolveIPAddr", "ResolveTCPAddr", "ResolveUDPAddr", "ListenPacket", "ListenUDP", "ListenMulticastUDP", "ListenIP",
		"ListenUnixgram"},
	"net/http":               {"Get", "Head", "Post", "PostForm", "Client", "DefaultClient", "Transport", "DefaultTransport", "ProxyURL"},
	"crypto/tls":             {"Dial", "DialWithDialer", "Dialer"},
	"net/http/httputil":      {"*"},
	"net/rpc":                {"*"},
	"net/smtp":               {"*"},
	"net/textproto":          {"Dial"},
	"log/syslog":             {"*"},
	"os/exec":                {"*"},
	"plugin":                 {"*"},
	"os":                     {"StartProcess"},
	"syscall":                {"Connect", "Sendto", "Sendmsg", "SendmsgN", "ForkExec", "StartProcess", "Exec"},
	"golang.org/x/sys/unix":  {"Connect", "Sendto", "Sendmsg", "SendmsgN", "SendmsgBuffers", "Exec"},
	"google.golang.org/grpc": {"NewClient", "Dial", "DialContext"},
}

// known are all places outside of the standard library that name something outward and are in the relay's binary. Whoever
// adds one says why it connects to nothing but the platform.
var known = map[string]string{
	// The one client, with a dialer and no proxy; and what is handed it.
	"github.com/getviewport/relay/server/internal/admission.NewClient":  "net.Dialer net/http.Client net/http.Transport",
	"github.com/getviewport/relay/server/internal/admission.newKeyring": "net/http.Client",
	"github.com/getviewport/relay/server/internal/admission.roundTrip":  "net/http.Client",
	"github.com/getviewport/relay/server/internal/admission":            "net/http.Client",
	"github.com/getviewport/relay/server/internal/worker":               "net/http.Client",
	// The default of its own client, ws.Dialer, which nothing calls: of the package only frame rules and masking are used.
	"github.com/gobwas/ws": "net.Dialer",
	// Parts of gRPC's client, which only grpc.NewClient starts: it is among those that are missing.
	"google.golang.org/grpc/internal.NetDialerWithTCPKeepalive":        "net.Dialer",
	"google.golang.org/grpc/internal/transport.doHTTPConnectHandshake": "net/http/httputil.DumpResponse",
	"google.golang.org/grpc/internal/resolver/dns":                     "net.DefaultResolver net.Dialer net.Resolver",
	// An interface's check at compile time.
	"golang.org/x/net/http2": "net/http.Transport",
}

// missing are functions that must not be in the binary at all.
var missing = []string{
	"google.golang.org/grpc.NewClient", "google.golang.org/grpc.Dial", "google.golang.org/grpc.DialContext",
	"net.Dial", "net.DialTimeout", "net.ListenPacket", "net.ListenUDP", "net.(*Dialer).Dial", "net/http.Get", "net/http.Head",
	"net/http.Post", "net/http.PostForm", "net/smtp.Dial", "os/exec.Command", "os.StartProcess", "syscall.forkExec",
	"plugin.Open",
}

func TestOnlyTheClientOfTheAdmissionCanConnectInTheRelaysBinary(t *testing.T) {
	names := linkedNames(t)
	for _, function := range missing {
		if linked(names, function) {
			t.Errorf("%s is in the binary", function)
		}
	}
	list := exec.Command("go", "list", "-deps", "-json=ImportPath,Dir,GoFiles,Standard",
		"github.com/getviewport/relay/cmd/viewport-relay")
	out, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p struct {
			ImportPath, Dir string
			GoFiles         []string
			Standard        bool
		}
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		if p.Standard {
			continue // it connects where it is told to
		}
		uses := map[string][]string{}
		for _, name := range p.GoFiles {
			reachesOut(t, p.ImportPath, filepath.Join(p.Dir, name), uses)
		}
		for where, what := range uses {
			if where == p.ImportPath || linked(names, where) {
				slices.Sort(what)
				found[where] = strings.Join(slices.Compact(what), " ")
			}
		}
	}
	for _, where := range slices.Sorted(maps.Keys(found)) {
		if found[where] != known[where] {
			t.Errorf("%s uses %q, want %q", where, found[where], known[where])
		}
	}
	for where := range known {
		if _, there := found[where]; !there {
			t.Errorf("%s reaches out no more: take it from the list", where)
		}
	}
}

// linkedNames is the table of the names of all functions in the binary, those that were inlined included. The linker leaves
// out what nothing can call.
func linkedNames(t *testing.T) []byte {
	t.Helper()
	f, err := elf.Open(command)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	table, err := f.Section(".gopclntab").Data()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"main.main", "github.com/getviewport/relay/server/internal/admission.NewClient"} {
		if !linked(table, name) {
			t.Fatalf("the table of functions lacks %s", name)
		}
	}
	return table
}

// linked reports whether a function is in the binary.
func linked(names []byte, function string) bool {
	return bytes.Contains(names, []byte("\x00"+function+"\x00"))
}

// reachesOut adds what a file uses of outward: by function, and what stands outside of functions by package.
func reachesOut(t *testing.T, path, file string, uses map[string][]string) {
	t.Helper()
	parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	imports := map[string]string{} // by the name in this file
	for _, i := range parsed.Imports {
		imported := strings.Trim(i.Path.Value, `"`)
		if _, watched := outward[imported]; !watched {
			continue
		}
		name := imported[strings.LastIndexByte(imported, '/')+1:]
		if i.Name != nil {
			name = i.Name.Name
		}
		if name == "." {
			t.Errorf("%s imports all names of %s", file, imported)
		}
		imports[name] = imported
	}
	for _, decl := range parsed.Decls {
		where := path
		if f, ok := decl.(*ast.FuncDecl); ok {
			where = path + "." + receiver(f) + f.Name.Name
		}
		ast.Inspect(decl, func(n ast.Node) bool {
			selector, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			if x, ok := selector.X.(*ast.Ident); ok {
				imported := imports[x.Name]
				if slices.Contains(outward[imported], selector.Sel.Name) || slices.Contains(outward[imported], "*") {
					uses[where] = append(uses[where], imported+"."+selector.Sel.Name)
				}
			}
			return true
		})
	}
}

// receiver is how the linker calls a method: "T." or "(*T).".
func receiver(f *ast.FuncDecl) string {
	if f.Recv == nil {
		return ""
	}
	typ, star := f.Recv.List[0].Type, false
	for {
		switch t := typ.(type) {
		case *ast.StarExpr:
			typ, star = t.X, true
		case *ast.IndexExpr:
			typ = t.X
		case *ast.IndexListExpr:
			typ = t.X
		case *ast.Ident:
			if star {
				return "(*" + t.Name + ")."
			}
			return t.Name + "."
		default:
			return ""
		}
	}
}
