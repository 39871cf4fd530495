package postgres

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/smartdr/smartdr/internal/fault"
)

// StandbySignal is the file that makes a server start as a standby; the server removes it when it is promoted.
const StandbySignal = "standby.signal"

const (
	recoverySignal = "recovery.signal"
	promoteSignal  = "promote"
)

// WriteStandbySignal makes the next start a standby, and takes away a recovery.signal: beside standby.signal it would do
// nothing now and start a recovery later.
func (s *Server) WriteStandbySignal() error {
	if err := s.writeFile(s.dataPath(StandbySignal), nil); err != nil {
		return err
	}
	return removeFile(s.dataPath(recoverySignal))
}

// RemoveStandbySignal makes the next start an ordinary one.
func (s *Server) RemoveStandbySignal() error { return removeFile(s.dataPath(StandbySignal)) }

// WriteRules replaces the file that says who may connect, as a whole, in one step.
func (s *Server) WriteRules(content []byte) error { return s.writeFile(s.HBAFile(), content) }

// WriteAutoConf replaces the settings of ALTER SYSTEM of a server that is down, in one step.
func (s *Server) WriteAutoConf(content []byte) error {
	return s.writeFile(s.dataPath("postgresql.auto.conf"), content)
}

// writeFile replaces a file durably and in one step; it belongs to the server's account.
func (s *Server) writeFile(path string, content []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return writeError(path, err)
	}
	defer os.Remove(f.Name()) // does nothing after the rename
	_, err = f.Write(content)
	err = errors.Join(err, s.Own(f.Name()), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err == nil {
		err = syncDir(filepath.Dir(path))
	}
	return writeError(path, err)
}

func writeError(path string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return fault.New(fault.Full, "write "+path, err)
	}
	return fault.New(fault.Transient, "write "+path, err)
}

func removeFile(path string) error {
	err := os.Remove(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = syncDir(filepath.Dir(path))
	}
	if err != nil {
		return fault.New(fault.Transient, "remove "+path, err)
	}
	return nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Own gives a path to the server's account, if that is not ours.
func (s *Server) Own(path string) error {
	if s.Account == nil {
		return nil
	}
	return os.Lchown(path, int(s.Account.UID), int(s.Account.GID))
}

// OwnTree gives a folder and all below it to the server's account: what another account wrote there, the server
// could not read. Files that it has already are left alone.
func (s *Server) OwnTree(dir string) error {
	if s.Account == nil {
		return nil
	}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if st, ok := statOf(info); err != nil || ok && st.Uid == s.Account.UID {
			return err
		}
		return s.Own(path)
	})
	if err != nil {
		return fault.New(fault.Transient, "give files to "+s.Account.Name, err)
	}
	return nil
}

func statOf(info fs.FileInfo) (*syscall.Stat_t, bool) {
	if info == nil {
		return nil, false
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	return st, ok
}

// makeDir makes a folder that only the server's account enters.
func (s *Server) makeDir(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return writeError(dir, err)
	}
	return writeError(dir, errors.Join(s.Own(dir), os.Chmod(dir, 0o700)))
}
