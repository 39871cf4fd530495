package dsn

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestProtection(t *testing.T) {
	for in, want := range map[string]map[string]string{
		"postgresql://u@h:5432/db":                                        {},
		"postgres://u@h/db?sslmode=verify-full&sslrootcert=/x/ca.crt":     {"sslmode": "verify-full"},
		"postgres://u@h/db?sslrootcert=system&application_name=a":         {"sslrootcert": "system"},
		"host=h sslmode=require user=u":                                   {"sslmode": "require"},
		`host=h sslmode = 'verify-ca' application_name='a sslmode=allow'`: {"sslmode": "verify-ca"},
		`application_name='it\'s sslmode=disable' channel_binding=require require_auth=scram-sha-256`: {
			"channel_binding": "require", "require_auth": "scram-sha-256",
		},
		"host=h sslmode=": {},
		"nonsense":        {},
		"":                {},
	} {
		if diff := cmp.Diff(want, Protection(in)); diff != "" {
			t.Errorf("%s: %s", in, diff)
		}
	}
}

func FuzzProtection(f *testing.F) {
	f.Add(`host='a\' b' sslmode=require`)
	f.Fuzz(func(_ *testing.T, s string) { Protection(s) })
}
