package activities

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"testing"

	"github.com/smartdr/smartdr/internal/metadata"
	"github.com/smartdr/smartdr/internal/postgres"
	"github.com/smartdr/smartdr/internal/postgres/postgrestest"
)

// writePair writes a certificate and its key, which belong to the account that servers run under.
func writePair(t *testing.T, s *postgres.Server, certificate, key string) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, k.Public(), k)
	check(t, err)
	private, err := x509.MarshalPKCS8PrivateKey(k)
	check(t, err)
	for path, block := range map[string]*pem.Block{certificate: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: private}} {
		check(t, os.WriteFile(path, pem.EncodeToMemory(block), 0o600))
		check(t, s.Own(path))
	}
}

func TestReadable(t *testing.T) {
	dir := postgrestest.TempDir(t)
	account, err := postgres.DefaultAccount()
	check(t, err)
	s := &postgres.Server{DataDir: filepath.Join(dir, "data"), Account: account}
	certificate, key := filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	m := metadata.Metadata{Settings: []metadata.Setting{{Name: "ssl", Value: "on"}, {Name: "ssl_cert_file", Value: certificate}, {Name: "ssl_key_file", Value: key}}}
	for name, c := range map[string]struct {
		prepare           func()
		certificate, both bool
	}{
		"as it should be":       {func() {}, true, true},
		"no key":                {func() { check(t, os.Remove(key)) }, true, false},
		"key open to others":    {func() { check(t, os.Chmod(key, 0o644)) }, true, false},
		"nobody may read":       {func() { check(t, os.Chmod(certificate, 0o200)) }, os.Geteuid() == 0 && account == nil, false},
		"key of another":        {func() { writePair(t, s, filepath.Join(dir, "other.crt"), key) }, true, false},
		"certificate not there": {func() { check(t, os.Remove(certificate)) }, false, false},
	} {
		writePair(t, s, certificate, key)
		check(t, os.Chmod(certificate, 0o600))
		check(t, os.Chmod(key, 0o600))
		c.prepare()
		may := readable(s, m)
		if got := may(certificate); got != c.certificate {
			t.Errorf("%s: certificate readable: %v", name, got)
		}
		if got := may(certificate) && may(key); got != c.both {
			t.Errorf("%s: usable: %v", name, got)
		}
		mapping := metadata.Map(m, metadata.Place{DataDir: s.DataDir, Readable: may})
		if off := mapping.Here["ssl"] == "off"; off == c.both {
			t.Errorf("%s: TLS off: %v", name, off)
		}
	}
}

// A folder that keeps others out hides what is in it, whatever the file's own mode.
func TestReadableThroughFolders(t *testing.T) {
	dir := postgrestest.TempDir(t)
	closed := filepath.Join(dir, "closed")
	check(t, os.Mkdir(closed, 0o700))
	file := filepath.Join(closed, "file")
	check(t, os.WriteFile(file, nil, 0o644))
	stranger := reader{uid: 4_000_000, groups: []uint32{4_000_000}}
	if stranger.reads(file) {
		t.Error("a stranger reads what lies in a closed folder")
	}
	check(t, os.Chmod(closed, 0o755))
	if !stranger.reads(file) {
		t.Error("a stranger does not read what is open to all")
	}
}
