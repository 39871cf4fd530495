package replication_test

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/smartdr/smartdr/internal/devenv/devtest"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/postgres"
	"github.com/smartdr/smartdr/internal/postgres/postgrestest"
	"github.com/smartdr/smartdr/internal/replication"
)

// sums maps every file of a backup to what it holds.
type sums map[string]string

// readBackup reads a whole backup, by Read or by WriteTo.
func readBackup(ctx context.Context, b *replication.Backup, byWriteTo bool) (sums, error) {
	all := sums{}
	for {
		a, err := b.NextArchive(ctx)
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return nil, err
		}
		var r io.Reader = a
		if byWriteTo {
			var whole bytes.Buffer
			if _, err := io.Copy(&whole, a); err != nil {
				return nil, err
			}
			r = &whole
		}
		if err := readTar(r, fmt.Sprint(a.Tablespace.OID), all); err != nil {
			return nil, err
		}
	}
}

func readTar(r io.Reader, prefix string, all sums) error {
	for tr := tar.NewReader(r); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		hash := sha256.New()
		if _, err := io.Copy(hash, tr); err != nil {
			return err
		}
		all[prefix+"/"+filepath.Clean(h.Name)] = fmt.Sprintf("%c %d %x", h.Typeflag, h.Size, hash.Sum(nil)[:8])
	}
}

// TestBaseBackup takes backups of a server with a tablespace, and compares with its files.
func TestBaseBackup(t *testing.T) {
	postgrestest.ForEach(t, func(t *testing.T, bin postgres.Binaries) {
		ctx := devtest.Context(t)
		s := postgrestest.Start(t, bin, map[string]string{"autovacuum": "off"})
		space := postgrestest.TempDir(t)
		postgrestest.Exec(t, s, "postgres", "CREATE TABLESPACE extra LOCATION '"+space+"'")
		postgrestest.Exec(t, s, "postgres", "CREATE TABLE t TABLESPACE extra AS SELECT n FROM generate_series(1, 30000) n; CREATE TABLE u AS TABLE t; CHECKPOINT")
		oid := postgrestest.Query(t, s, "postgres", "SELECT oid FROM pg_tablespace WHERE spcname = 'extra'")

		var backups []sums
		for _, byWriteTo := range []bool{false, true} {
			b, err := connect(t, s).BaseBackup(ctx, replication.BaseBackupOptions{Label: "it's one", FastCheckpoint: true, VerifyChecksums: true})
			postgrestest.Check(t, err)
			checkTablespaces(t, b, oid, space)
			got, err := readBackup(ctx, b, byWriteTo)
			postgrestest.Check(t, err)
			if b.Start.Timeline != 1 || b.End.Timeline != 1 || b.End.LSN <= b.Start.LSN || b.Done() == 0 {
				t.Errorf("from %s to %s, %d bytes", b.Start, b.End, b.Done())
			}
			if _, err := b.NextArchive(ctx); !errors.Is(err, io.EOF) {
				t.Errorf("after the end: %v", err)
			}
			backups = append(backups, got)
		}
		for _, table := range []string{"t", "u"} {
			path := postgrestest.Query(t, s, "postgres", "SELECT pg_relation_filepath('"+table+"')")
			compareTable(t, s, path, oid, backups[0])
			compareTable(t, s, path, oid, backups[1])
		}
		if backups[0]["0/tablespace_map"] == "" || backups[0]["0/backup_label"] == "" || backups[0]["0/backup_manifest"] != "" {
			t.Error("want a tablespace_map and a backup_label, and no manifest")
		}
	})
}

func checkTablespaces(t *testing.T, b *replication.Backup, oid, space string) {
	t.Helper()
	n, err := strconv.ParseUint(oid, 10, 32)
	postgrestest.Check(t, err)
	var got []replication.Tablespace
	for _, ts := range b.Tablespaces {
		if ts.SizeKB == 0 {
			t.Errorf("tablespace %d is said to be empty", ts.OID)
		}
		ts.SizeKB = 0
		got = append(got, ts)
	}
	if diff := cmp.Diff([]replication.Tablespace{{OID: uint32(n), Location: space}, {}}, got); diff != "" {
		t.Errorf("tablespaces (-want +got):\n%s", diff)
	}
}

func compareTable(t *testing.T, s *postgres.Server, path, oid string, got sums) {
	t.Helper()
	name := "0/" + path
	if rest, ok := strings.CutPrefix(path, "pg_tblspc/"+oid+"/"); ok {
		name = oid + "/" + rest
	}
	content, err := os.ReadFile(filepath.Join(s.DataDir, path))
	postgrestest.Check(t, err)
	sum := sha256.Sum256(content)
	if want := fmt.Sprintf("0 %d %x", len(content), sum[:8]); got[name] != want {
		t.Errorf("%s: %q in the backup, %q on disk", name, got[name], want)
	}
}

// TestBaseBackupLikePgBasebackup compares the list of files with pg_basebackup's.
func TestBaseBackupLikePgBasebackup(t *testing.T) {
	postgrestest.ForEach(t, func(t *testing.T, bin postgres.Binaries) {
		oracle := bin.Path("pg_basebackup")
		if _, err := os.Stat(oracle); err != nil {
			t.Skip("this installation has no pg_basebackup")
		}
		ctx := devtest.Context(t)
		s := postgrestest.Start(t, bin, map[string]string{"autovacuum": "off"})
		b, err := connect(t, s).BaseBackup(ctx, replication.BaseBackupOptions{FastCheckpoint: true})
		postgrestest.Check(t, err)
		got, err := readBackup(ctx, b, false)
		postgrestest.Check(t, err)
		cmd := exec.CommandContext(ctx, oracle, "-h", "127.0.0.1", "-p", strconv.Itoa(s.Port), "-U", "postgres", "-Ft", "-D", "-", "-X", "none", "-c", "fast", "--no-manifest")
		out, err := cmd.Output()
		postgrestest.Check(t, err)
		want := sums{}
		postgrestest.Check(t, readTar(bytes.NewReader(out), "0", want))
		for _, changing := range []string{"0/backup_label", "0/global/pg_control", "0/tablespace_map", "0/pg_xact/0000"} {
			delete(want, changing)
			delete(got, changing)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("-pg_basebackup +ours:\n%s", diff)
		}
	})
}

// TestDamagedPage: the server says so only after all data was sent.
func TestDamagedPage(t *testing.T) {
	postgrestest.ForEach(t, func(t *testing.T, bin postgres.Binaries) {
		ctx := devtest.Context(t)
		s := postgrestest.Start(t, bin, map[string]string{"autovacuum": "off"})
		postgrestest.Exec(t, s, "postgres", "CREATE TABLE t AS SELECT n FROM generate_series(1, 30000) n; CHECKPOINT")
		path := postgrestest.Query(t, s, "postgres", "SELECT pg_relation_filepath('t')")
		f, err := os.OpenFile(filepath.Join(s.DataDir, path), os.O_WRONLY, 0)
		postgrestest.Check(t, err)
		_, err = f.WriteAt([]byte("damage"), 5*8192+4000)
		postgrestest.Check(t, errors.Join(err, f.Close()))

		b, err := connect(t, s).BaseBackup(ctx, replication.BaseBackupOptions{FastCheckpoint: true, VerifyChecksums: true})
		postgrestest.Check(t, err)
		_, err = readBackup(ctx, b, false)
		if !fault.Is(err, fault.Corrupt) || !strings.Contains(err.Error(), path) || fault.HintOf(err) == "" {
			t.Errorf("want Corrupt that names %s, got %v", path, err)
		}
		if len(b.Warnings) == 0 || b.End.LSN != 0 {
			t.Errorf("warnings %q, end %s", b.Warnings, b.End)
		}
		b, err = connect(t, s).BaseBackup(ctx, replication.BaseBackupOptions{FastCheckpoint: true})
		postgrestest.Check(t, err)
		if _, err := readBackup(ctx, b, false); err != nil {
			t.Errorf("without verifying: %v", err)
		}
	})
}

func TestBackupIsInterrupted(t *testing.T) {
	postgrestest.ForEach(t, func(t *testing.T, bin postgres.Binaries) {
		s := postgrestest.Start(t, bin, nil)
		postgrestest.Exec(t, s, "postgres", "CREATE TABLE t AS SELECT n, repeat('x', 500) FROM generate_series(1, 100000) n")
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		c := connect(t, s)
		b, err := c.BaseBackup(ctx, replication.BaseBackupOptions{FastCheckpoint: true, MaxRateKB: 2048})
		postgrestest.Check(t, err)
		a, err := b.NextArchive(ctx)
		postgrestest.Check(t, err)
		_, err = io.CopyN(io.Discard, a, 1<<20)
		postgrestest.Check(t, err)
		cancel()
		if _, err := io.Copy(io.Discard, a); !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled: %v", err)
		}
		postgrestest.Check(t, c.Close(context.Background()))

		c = connect(t, s)
		b, err = c.BaseBackup(t.Context(), replication.BaseBackupOptions{FastCheckpoint: true, MaxRateKB: 2048})
		postgrestest.Check(t, err)
		a, err = b.NextArchive(t.Context())
		postgrestest.Check(t, err)
		_, err = io.CopyN(io.Discard, a, 1<<20)
		postgrestest.Check(t, err)
		postgrestest.Check(t, s.Kill(t.Context()))
		if _, err := io.Copy(io.Discard, a); !fault.Is(err, fault.Transient) {
			t.Errorf("the server died: %v", err)
		}
		if _, err := b.NextArchive(t.Context()); !fault.Is(err, fault.Transient) || errors.Is(err, io.EOF) {
			t.Errorf("a broken backup must not look complete: %v", err)
		}
	})
}
