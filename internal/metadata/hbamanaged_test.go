package metadata

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/topology"
)

func TestManagedHBA(t *testing.T) {
	own := []string{`hostssl app "a b" 10.1.0.0/16 scram-sha-256`, "", "# for the backup host", "host replication standby 10.2.0.1 255.255.255.255 scram-sha-256"}
	mark := firewallMark + "\n"
	ownText := strings.Join(own, "\n") + "\n"
	for name, c := range map[string]struct {
		f    topology.Firewall
		want string
	}{
		"nothing said": {topology.Firewall{}, ownText},
		"everybody":    {topology.Firewall{AllowAll: true}, ownText + "host all all all scram-sha-256\n"},
		"nobody":       {topology.Firewall{Ranges: []string{}}, mark + "host all,replication all 0.0.0.0/0 reject\nhost all,replication all ::/0 reject\n" + mark + ownText},
		"half of IPv4": {topology.Firewall{Ranges: []string{"0.0.0.0/1"}},
			mark + "host all,replication all 128.0.0.0/1 reject\nhost all,replication all ::/0 reject\n" + mark + ownText + "host all all 0.0.0.0/1 scram-sha-256\n"},
	} {
		text, err := ManagedHBA(c.f, own)
		_, body, _ := strings.Cut(text, "\n")
		if diff := cmp.Diff(c.want, body); diff != "" || err != nil {
			t.Errorf("%s: %v %s", name, err, diff)
		}
	}
	if _, err := ManagedHBA(topology.Firewall{Ranges: []string{"10.0.0.1/8"}}, nil); !fault.Is(err, fault.Invalid) {
		t.Errorf("a bad range: %v", err)
	}
}

func TestBadRules(t *testing.T) {
	for line, says := range map[string]string{
		"hostile all all all trust":           "begins with none",
		`"include" x`:                         "begins with none",
		"include other.conf":                  "include",
		"include_if_exists other.conf":        "include",
		"host all,@users.txt all all trust":   "@users.txt",
		"host all @users all trust":           "@users",
		"host all all":                        "too short",
		"host all all 10.0.0.1 scram-sha-256": "too short",
		"local all all":                       "too short",
		"host all all all scram":              `"scram" as its method`,
		"host all all all trust,md5":          "method",
		"host all all all ldap ldapserver=l ldapbindpasswd=hunter2": "ldapbindpasswd",
		`host all all all radius "radiussecrets=hunter2"`:           "radiussecrets",
		"host all all all ldap ldapurl=ldap://u:hunter2@h/":         "URL with a password",
		"host all all all scram-sha-256 \\":                         "backslash",
		"host all all all scram-sha-256\nhost all all all trust":    "more than one line",
		"local all postgres peer map=smartdr":                       "smartdr",
		"host all all all cert clientcert":                          "name=value",
		"host all all all trust " + strings.Repeat("x", 2000):       "bytes",
		"host all all all trust # ldapbindpasswd=hunter2":           "ldapbindpasswd", "# password=hunter2": "password",
		`host "@all" all all reject`: "",
		`host a, b all all reject`:   "",
	} {
		_, err := ManagedHBA(topology.Firewall{}, []string{"local all all peer", line})
		if says == "" {
			if err != nil {
				t.Errorf("%q: %v", line, err)
			}
			continue
		}
		if !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), says) || !strings.Contains(err.Error(), "line 2") || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: %v", line, err)
		}
	}
}

func TestManagedIdent(t *testing.T) {
	text, err := ManagedIdent([]string{"people alice app", `people "/^(.*)@x$" "\1"`})
	if diff := cmp.Diff("people alice app\npeople \"/^(.*)@x$\" \"\\1\"\n", text); diff != "" || err != nil {
		t.Error(err, diff)
	}
	for line, says := range map[string]string{"smartdr root postgres": "control", "people alice": "no user name map", "people a,b c": "no user name map", "people @f c": "@f", "include x": "include"} {
		if _, err := ManagedIdent([]string{line}); !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v", line, err)
		}
	}
}

func TestAccessFields(t *testing.T) {
	for line, want := range map[string][][]string{
		"":                 nil,
		"# all":            nil,
		"a b,c":            {{"a"}, {"b", "c"}},
		"a b, c d":         {{"a"}, {"b", "c"}, {"d"}},
		`"a b","c""d" e#f`: {{"a b", `c"d`}, {"e"}},
		`x"y z"w ""`:       {{"xy zw"}, {""}},
		"a ,b":             {{"a"}, {"b"}},
		"a,":               {{"a"}},
		`a "#b" # c`:       {{"a"}, {"#b"}},
		`""""`:             {{`"`}},
		"host\tall all\r":  {{"host"}, {"all"}, {"all"}},
	} {
		var got [][]string
		for _, f := range accessFields(line) {
			got = append(got, f.texts())
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q: %s", line, diff)
		}
	}
}
