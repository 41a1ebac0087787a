package config

import (
	"crypto/tls"
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"strings"
	"time"
)

// checkTogether reports what is wrong between settings that are good by themselves, and completes the configuration.
func (l *loader) checkTogether() {
	d := &l.draft
	d.Listen = d.address()
	l.checkTLS()
	l.checkAdmission()
	l.checkAdmin()
	l.checkLimits()
	if d.WorkerTransport && d.ValidateURL == "" {
		l.report(Error, l.name("RELAY_WORKER_TRANSPORT")+" is on without RELAY_VALIDATE_URL: nobody is there to be asked",
			"set RELAY_VALIDATE_URL, whose origin workers ask, or switch it off")
	}
	if d.MaxLinksPerAddress == 0 && !l.has("RELAY_UPGRADE_RATE_PER_MINUTE") {
		d.LegacyRates.Upgrades = 0 // all upgrades come from a terminator's address
	}
	if d.Heartbeat > 30*time.Second {
		l.report(Note, l.name("RELAY_HEARTBEAT")+" is above the 30 s after which some terminators cut a silent link",
			"keep it at 20s where one stands in front")
	}
	if d.Heartbeat == 0 && l.has("RELAY_HEARTBEAT") {
		l.report(Note, "heartbeats are off: terminators cut silent links, and a vanished peer is found only by TCP", "")
	}
}

func (l *loader) checkTLS() {
	d := &l.draft
	cert, key := l.wasTried("RELAY_TLS_CERT"), l.wasTried("RELAY_TLS_KEY")
	switch {
	case d.tlsMode == "0" && (cert || key):
		l.report(Error, "RELAY_TLS=0 contradicts a certificate or key that is set", "unset RELAY_TLS, or both of the others")
	case d.tlsMode == "1" && !cert && !key:
		l.report(Error, "RELAY_TLS=1 without a certificate", "set RELAY_TLS_CERT and RELAY_TLS_KEY to PEM files")
	case cert != key:
		have, want := "RELAY_TLS_CERT", "RELAY_TLS_KEY"
		if key {
			have, want = want, have
		}
		l.report(Error, l.name(have)+" is set without "+want, "set both, or neither")
	case cert && key:
		if !l.has("RELAY_TLS_CERT") || !l.has("RELAY_TLS_KEY") {
			return // a file that can't be read was reported already
		}
		if _, err := tls.LoadX509KeyPair(d.TLSCert, d.TLSKey); err != nil {
			l.report(Error, l.name("RELAY_TLS_CERT")+"="+show(d.TLSCert)+" and "+l.name("RELAY_TLS_KEY")+"="+
				show(d.TLSKey)+": "+strings.TrimPrefix(err.Error(), "tls: "),
				"name the PEM files of a certificate and of its own key")
		}
	case !isLoopback(d.host):
		l.report(Note, "the public port is plain on "+d.Listen+": tokens travel in the clear up to it",
			"put a terminator in front that speaks HTTP/2 to the relay, or set RELAY_TLS_CERT and RELAY_TLS_KEY")
	}
}

func (l *loader) checkAdmission() {
	jwks, validate := l.draft.JWKSURL != "", l.draft.ValidateURL != ""
	switch {
	case !jwks && !validate:
		// A bad value of one of them was reported already; this one would only hide it.
		if !l.wasTried("RELAY_JWKS_URL") && !l.wasTried("RELAY_VALIDATE_URL") {
			l.report(Error, "neither RELAY_JWKS_URL nor RELAY_VALIDATE_URL is set: no token could be checked",
				"set at least one, better both: RELAY_JWKS_URL=https://…/.well-known/jwks.json, "+
					"RELAY_VALIDATE_URL=https://…"+validatePath)
		}
	case !jwks:
		l.report(Note, "without RELAY_JWKS_URL, validate alone leaves the token opaque beyond length and alphabet "+
			"(today's HS256 tokens work this way)",
			"set RELAY_JWKS_URL when the platform signs with RS256, ES256 or EdDSA")
		for _, s := range []string{"RELAY_TOKEN_ISSUER", "RELAY_TOKEN_AUDIENCE"} {
			if l.has(s) {
				l.reportIdle(s, "RELAY_JWKS_URL")
			}
		}
	case !validate:
		l.report(Note, "without RELAY_VALIDATE_URL, JWKS alone never hears of a revocation: "+
			"a token is good until it expires", "set RELAY_VALIDATE_URL to the platform's validate call")
		for _, s := range []string{"RELAY_INTERNAL_KEY", "RELAY_VALIDATE_TIMEOUT", "RELAY_VALIDATE_CONCURRENCY"} {
			if l.has(s) {
				l.reportIdle(s, "RELAY_VALIDATE_URL")
			}
		}
		if l.has("RELAY_RECHECK_INTERVAL") && l.draft.RecheckInterval > 0 {
			l.reportIdle("RELAY_RECHECK_INTERVAL", "RELAY_VALIDATE_URL")
		}
	}
	l.checkCleartext("RELAY_JWKS_URL", l.draft.JWKSURL, "who sits on the way can put in keys of his own")
	l.checkCleartext("RELAY_VALIDATE_URL", l.draft.ValidateURL, "tokens and the internal key can be read on the way")
	if key := l.draft.InternalKey; key != "" {
		l.checkGuessable("RELAY_INTERNAL_KEY", key)
	}
}

// reportIdle warns about a setting that another one would give an effect.
func (l *loader) reportIdle(setting, needed string) {
	l.report(Warning, l.name(setting)+" is set and has no effect without "+needed, "set "+needed+", or unset it")
}

// placeholder matches secrets that were copied from an example.
var placeholder = regexp.MustCompile(`(?i)change-?me|placeholder|example`)

// checkGuessable warns about a secret that looks like none.
func (l *loader) checkGuessable(setting, secret string) {
	if len(secret) < 24 || placeholder.MatchString(secret) {
		l.report(Warning, l.name(setting)+"=(not shown) looks easy to guess: under 24 characters, or a placeholder",
			"make one: openssl rand -hex 32")
	}
}

// checkCleartext warns about http to another machine.
func (l *loader) checkCleartext(setting, address, risk string) {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "http" || isLoopback(u.Hostname()) {
		return
	}
	l.report(Warning, l.name(setting)+"="+show(address)+" is http to another machine: "+risk, "use https")
}

func (l *loader) checkLimits() {
	d := &l.draft
	if d.LinkQueueBytes > d.QueueBytes {
		l.report(Warning, l.name("RELAY_LINK_QUEUE_BYTES")+" is above "+l.name("RELAY_QUEUE_BYTES")+
			": one link can take all that the process may keep", "lower it, or raise the other")
	}
	if d.TLSCert == "" && !isLoopback(d.host) && d.MaxLinksPerAddress > 0 && d.MaxLinksPerAddress < d.MaxLinks {
		l.report(Note, "the public port is plain: if a terminator stands in front, all links come from its address and "+
			l.name("RELAY_MAX_LINKS_PER_ADDRESS")+" bounds them together", "set RELAY_MAX_LINKS_PER_ADDRESS=0 behind one")
	}
}

func (l *loader) checkAdmin() {
	d := &l.draft
	if len(d.AdminTokens) == 0 {
		if l.has("RELAY_ADMIN_LISTEN") && !l.wasTried("RELAY_ADMIN_TOKEN") {
			l.reportIdle("RELAY_ADMIN_LISTEN", "RELAY_ADMIN_TOKEN")
		}
		d.AdminListen = ""
		return
	}
	for _, t := range d.AdminTokens {
		l.checkGuessable("RELAY_ADMIN_TOKEN", t)
	}
	if !l.wasTried("RELAY_STATE_DIR") {
		l.report(Note, "without RELAY_STATE_DIR the relay forgets at each restart what RevokePairing has revoked",
			"set RELAY_STATE_DIR to a folder of its own: mkdir -m 700 /var/lib/viewport-relay")
	}
	host, port, err := net.SplitHostPort(d.AdminListen)
	if err != nil {
		return // reported as a bad value
	}
	if _, public, _ := net.SplitHostPort(d.Listen); port == public && port != "0" && overlap(host, d.host) {
		l.report(Error, "RELAY_ADMIN_LISTEN="+show(d.AdminListen)+" contradicts the public port "+d.Listen+
			": one port, two listeners", "give RELAY_ADMIN_LISTEN another port")
	}
	if !isLoopback(host) {
		l.report(Note, "the admin listener "+d.AdminListen+" can be reached from other machines, in the clear: "+
			"the token is all that guards it", "keep it on 127.0.0.1, or behind a network policy")
	}
}

// wasTried says whether some source sets a setting, be it badly.
func (l *loader) wasTried(setting string) bool {
	for _, n := range l.byName[setting].setting.allNames() {
		for _, src := range l.sources {
			if _, ok := src[n.name]; ok {
				return true
			}
		}
	}
	return false
}

func isLoopback(host string) bool {
	if strings.EqualFold(strings.TrimSuffix(host, "."), "localhost") {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback()
}

// overlap says whether the same port can't be opened on both.
func overlap(a, b string) bool {
	all := func(h string) bool { return h == "" || h == "0.0.0.0" || h == "::" }
	return a == b || all(a) || all(b)
}
