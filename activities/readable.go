package activities

import (
	"crypto/tls"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/smartdr/smartdr/internal/metadata"
	"github.com/smartdr/smartdr/internal/postgres"
)

// readable tells which files named by the primary's settings a server on this host can use. A relative path is in its
// data directory. The key of TLS must also be as private as PostgreSQL wants it, and fit the certificate: a server that
// finds it otherwise does not start.
func readable(s *postgres.Server, m metadata.Metadata) func(path string) bool {
	reader := readerOf(s.Account)
	at := func(path string) string {
		if filepath.IsAbs(path) {
			return path
		}
		return filepath.Join(s.DataDir, path)
	}
	certificate, key := setting(m, "ssl_cert_file", "server.crt"), setting(m, "ssl_key_file", "server.key")
	return func(path string) bool {
		if !reader.reads(at(path)) {
			return false
		}
		if path != key {
			return true
		}
		withPassphrase := m.Setting("ssl_passphrase_command") != ""
		return reader.keeps(at(key)) && (withPassphrase || pair(at(certificate), at(key)))
	}
}

func setting(m metadata.Metadata, name, byDefault string) string {
	if v := m.Setting(name); v != "" {
		return v
	}
	return byDefault
}

func pair(certificate, key string) bool {
	_, err := tls.LoadX509KeyPair(certificate, key)
	return err == nil
}

// reader is the account of a server; with nil groups it is the account of this process, which the kernel knows better.
type reader struct {
	uid    uint32
	groups []uint32
}

func readerOf(a *postgres.Account) reader {
	if a == nil {
		return reader{uid: uint32(os.Geteuid())}
	}
	r := reader{uid: a.UID, groups: []uint32{a.GID}}
	u, err := user.LookupId(strconv.FormatUint(uint64(a.UID), 10))
	if err != nil {
		return r
	}
	ids, err := u.GroupIds()
	if err != nil {
		return r
	}
	for _, id := range ids {
		if gid, err := strconv.ParseUint(id, 10, 32); err == nil {
			r.groups = append(r.groups, uint32(gid))
		}
	}
	return r
}

// reads reports whether the account may read a file, and enter every folder on the way, by their modes; access control
// lists are not looked at.
func (r reader) reads(path string) bool {
	path, err := filepath.EvalSymlinks(path)
	if err != nil {
		return false
	}
	info, err := os.Stat(path)
	if err != nil || !info.Mode().IsRegular() {
		return false
	}
	if r.groups == nil {
		return unix.Access(path, unix.R_OK) == nil
	}
	for dir := filepath.Dir(path); ; dir = filepath.Dir(dir) {
		folder, err := os.Stat(dir)
		if err != nil || !r.may(folder, 1) {
			return false
		}
		if dir == filepath.Dir(dir) {
			return r.may(info, 4)
		}
	}
}

// may applies a file's mode: of its owner, its group or everybody, the first that fits counts alone.
func (r reader) may(info fs.FileInfo, bit fs.FileMode) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return false
	}
	switch {
	case st.Uid == r.uid:
		bit <<= 6
	case slices.Contains(r.groups, st.Gid):
		bit <<= 3
	}
	return info.Mode()&bit != 0
}

// keeps reports whether a key is as private as PostgreSQL wants it: the account's own and nobody else's, or root's and
// readable for a group (check_ssl_key_file_permissions in
// src/backend/libpq/be-secure-common.c).
func (r reader) keeps(path string) bool {
	info, err := os.Stat(path)
	if err != nil {
		return false
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	switch {
	case !ok:
		return false
	case st.Uid == r.uid:
		return info.Mode().Perm()&0o077 == 0
	}
	return st.Uid == 0 && info.Mode().Perm()&0o037 == 0
}
