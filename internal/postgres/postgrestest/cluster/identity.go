package cluster

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"github.com/smartdr/smartdr/internal/postgres"
)

// copyTree copies folders and files with their modes into a folder that is there.
func copyTree(from, to string) error {
	entries, err := os.ReadDir(from)
	if err != nil {
		return err
	}
	for _, e := range entries {
		source, target := filepath.Join(from, e.Name()), filepath.Join(to, e.Name())
		info, err := e.Info()
		switch {
		case err != nil:
		case e.IsDir():
			if err = os.Mkdir(target, info.Mode().Perm()); err == nil {
				err = copyTree(source, target)
			}
		case info.Mode().IsRegular():
			err = copyFile(source, target, info.Mode().Perm())
		default:
			err = fmt.Errorf("%s is neither a file nor a folder", source)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func copyFile(from, to string, mode os.FileMode) error {
	source, err := os.Open(from)
	if err != nil {
		return err
	}
	defer source.Close()
	target, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode)
	if err != nil {
		return err
	}
	_, err = target.ReadFrom(source) // by the kernel alone, where it can
	return errors.Join(err, target.Close())
}

// identify gives a cluster that was never started another system identifier: in pg_control, and in the WAL that initdb has left, where the
// first page of each file repeats it.
func identify(dataDir string) error {
	// As PostgreSQL makes them: the seconds, then what tells two of a second apart.
	id := binary.LittleEndian.AppendUint64(nil, uint64(time.Now().Unix())<<32|uint64(rand.Uint32()))
	path := filepath.Join(dataDir, postgres.ControlFile)
	control, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	at, err := checksumOf(control)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	copy(control, id) // the first member of ControlFileData
	binary.LittleEndian.PutUint32(control[at:], crc32.Checksum(control[:at], castagnoli))
	if err := os.WriteFile(path, control, 0o600); err != nil {
		return err
	}
	files, err := filepath.Glob(filepath.Join(dataDir, "pg_wal", "0*"))
	if err != nil || len(files) == 0 {
		return errors.Join(fmt.Errorf("no WAL in %s", dataDir), err)
	}
	for _, f := range files {
		if err := writeAt(f, id, walSystemID); err != nil {
			return err
		}
	}
	return nil
}

// walSystemID is the offset of xlp_sysid in XLogLongPageHeaderData, behind the 24 bytes that every page begins with.
const walSystemID = 24

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// checksumOf finds the checksum of pg_control: the last member, which stands elsewhere in each version, in the first disk sector.
func checksumOf(control []byte) (offset int, err error) {
	for at := 200; at <= 508 && at+4 <= len(control); at += 4 {
		if crc32.Checksum(control[:at], castagnoli) == binary.LittleEndian.Uint32(control[at:]) {
			return at, nil
		}
	}
	return 0, errors.New("the checksum does not hold")
}

func writeAt(path string, b []byte, offset int64) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(b, offset)
	return errors.Join(err, f.Close())
}
