package restore_test

import (
	"archive/tar"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/smartdr/smartdr/internal/devenv/devtest"
	"github.com/smartdr/smartdr/internal/postgres"
	"github.com/smartdr/smartdr/internal/postgres/postgrestest"
	"github.com/smartdr/smartdr/internal/replication"
	"github.com/smartdr/smartdr/internal/restore"
	"github.com/smartdr/smartdr/internal/wal"
)

// source is a primary with a base backup, taken without SmartDR's own snapshots, and the way to its WAL.
type source struct {
	server    *postgres.Server
	files     string // the base backup's data directory
	start     wal.LSN
	backupEnd wal.LSN
	history   []byte // of timeline 2, after switchTimeline
	switched  wal.LSN
}

// startSource starts a primary, prepares it, and takes a base backup. Its WAL from there on is kept.
func startSource(t *testing.T, bin postgres.Binaries, init *postgres.InitOptions, prepare ...func(*postgres.Server)) *source {
	t.Helper()
	if init == nil {
		init = &postgres.InitOptions{NoSync: true, Checksums: true}
	}
	s := postgrestest.NewServer(t, bin)
	s.Settings["autovacuum"] = "off"
	postgrestest.Check(t, s.Init(t.Context(), *init))
	postgrestest.Check(t, s.WriteHBA(postgrestest.TrustLocal))
	postgrestest.Check(t, s.Start(t.Context()))
	postgrestest.Exec(t, s, "postgres", "SELECT pg_create_physical_replication_slot('keep', true)")
	for _, p := range prepare {
		p(s)
	}
	src := &source{server: s, files: filepath.Join(postgrestest.TempDir(t), "data")}
	src.backup(t)
	return src
}

func (src *source) connect(t *testing.T) *replication.Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), devtest.Patience)
	defer cancel()
	c, err := replication.Connect(ctx, postgrestest.Source(src.server, "postgres", "postgres"), "test")
	postgrestest.Check(t, err)
	return c
}

func (src *source) backup(t *testing.T) {
	t.Helper()
	c := src.connect(t)
	defer c.Close(context.Background())
	b, err := c.BaseBackup(t.Context(), replication.BaseBackupOptions{FastCheckpoint: true, VerifyChecksums: true})
	postgrestest.Check(t, err)
	src.start = wal.DefaultSegmentSize.Start(b.Start.LSN)
	for {
		archive, err := b.NextArchive(t.Context())
		if errors.Is(err, io.EOF) {
			break
		}
		postgrestest.Check(t, err)
		extract(t, archive, src.files)
	}
	src.backupEnd = b.End.LSN
	path := filepath.Join(src.files, postgres.ControlFile)
	content, err := os.ReadFile(path)
	postgrestest.Check(t, err)
	content, err = postgres.ReplaceableInvalidControl(content)
	postgrestest.Check(t, err)
	postgrestest.Check(t, os.WriteFile(path, content, 0o600))
}

func extract(t *testing.T, r io.Reader, dir string) {
	t.Helper()
	postgrestest.Check(t, os.MkdirAll(dir, 0o700))
	for tr := tar.NewReader(r); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		postgrestest.Check(t, err)
		path := filepath.Join(dir, h.Name)
		if h.Typeflag == tar.TypeDir {
			postgrestest.Check(t, os.MkdirAll(path, 0o700))
			continue
		}
		content, err := io.ReadAll(tr)
		postgrestest.Check(t, err)
		postgrestest.Check(t, os.WriteFile(path, content, 0o600))
	}
}

// end commits something, so that everything before is flushed, and returns the end of the last record.
func (src *source) end(t *testing.T) wal.LSN {
	t.Helper()
	postgrestest.Exec(t, src.server, "postgres", "SELECT pg_logical_emit_message(true, 'test', '')")
	lsn, err := wal.ParseLSN(postgrestest.Query(t, src.server, "postgres", "SELECT pg_current_wal_flush_lsn()"))
	postgrestest.Check(t, err)
	return lsn
}

// switchTimeline replaces the primary by a promoted standby of it.
func (src *source) switchTimeline(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), devtest.Patience)
	defer cancel()
	standby := postgrestest.StartStandby(t, src.server)
	postgrestest.WaitReplayed(t, src.server, standby)
	old := src.bytes(t, 1, src.start, src.end(t))
	postgrestest.Check(t, src.server.Kill(ctx))
	postgrestest.Check(t, standby.Promote(ctx))
	src.server = standby
	c := src.connect(t)
	defer c.Close(context.Background())
	var err error
	src.history, err = c.TimelineHistory(ctx, 2)
	postgrestest.Check(t, err)
	history, err := wal.ParseHistory(src.history)
	postgrestest.Check(t, err)
	src.switched = history[0].LSN
	src.keep(t, 1, old[:src.switched-src.start])
}

// keep writes WAL of an old timeline beside the backup's files, so that every restore has it.
func (src *source) keep(t *testing.T, tli wal.Timeline, b []byte) {
	t.Helper()
	writeSegments(t, filepath.Join(src.files, "pg_wal"), tli, src.start, b)
	src.start = wal.DefaultSegmentSize.Start(src.switched)
	postgrestest.Check(t, os.WriteFile(filepath.Join(src.files, "pg_wal", wal.HistoryFileName(2)), src.history, 0o600))
}

func (src *source) timeline() wal.Timeline {
	if src.history != nil {
		return 2
	}
	return 1
}

// bytes streams [from, to) of a timeline.
func (src *source) bytes(t *testing.T, tli wal.Timeline, from, to wal.LSN) []byte {
	t.Helper()
	c := src.connect(t)
	defer c.Close(context.Background())
	stream, err := c.StartPhysical(t.Context(), "", wal.Position{Timeline: tli, LSN: from})
	postgrestest.Check(t, err)
	var b []byte
	for wal.LSN(len(b)) < to-from {
		m, err := stream.Receive(t.Context())
		postgrestest.Check(t, err)
		if d, ok := m.(replication.Data); ok {
			b = append(b, d.Bytes...)
		}
	}
	return b[:to-from]
}

// restore makes a folder with the backup and its WAL up to end, and some bytes more.
func (src *source) restore(t *testing.T, end, more wal.LSN) restore.AttachInput {
	t.Helper()
	s := postgrestest.NewServer(t, src.server.Bin)
	postgrestest.Check(t, os.CopyFS(s.DataDir, os.DirFS(src.files)))
	postgrestest.Check(t, os.Chmod(s.DataDir, 0o700))
	writeSegments(t, filepath.Join(s.DataDir, "pg_wal"), src.timeline(), src.start, src.bytes(t, src.timeline(), src.start, end+more))
	postgrestest.Check(t, s.OwnTree(s.DataDir))
	return restore.AttachInput{
		Server: s, Superuser: "postgres", SlotName: "next", Plan: restore.Plan{Timeline: src.timeline(), RecordEnd: end},
	}
}

// writeSegments writes whole segment files, with zeros after the end.
func writeSegments(t *testing.T, dir string, tli wal.Timeline, start wal.LSN, b []byte) {
	t.Helper()
	size := int(wal.DefaultSegmentSize)
	for off := 0; off < len(b); off += size {
		file := make([]byte, size)
		copy(file, b[off:])
		name := wal.DefaultSegmentSize.FileName(tli, start+wal.LSN(off))
		postgrestest.Check(t, os.WriteFile(filepath.Join(dir, name), file, 0o600))
	}
}

// eraseFrom overwrites WAL with zeros, from a position to the end of its file, and removes the files after it.
func eraseFrom(t *testing.T, s *postgres.Server, from wal.LSN) {
	t.Helper()
	size := wal.DefaultSegmentSize
	dir := filepath.Join(s.DataDir, "pg_wal")
	for at := size.Next(from); ; at = size.Next(at) {
		if err := os.Remove(filepath.Join(dir, size.FileName(1, at))); err != nil {
			break
		}
	}
	path := filepath.Join(dir, size.FileName(1, from))
	postgrestest.Check(t, os.Truncate(path, int64(from-size.Start(from))))
	postgrestest.Check(t, os.Truncate(path, int64(size)))
}

// zeroDatabase makes every file of a database as long as it was, and all zeros.
func zeroDatabase(t *testing.T, s *postgres.Server, oid string) {
	t.Helper()
	dir := filepath.Join(s.DataDir, "base", oid)
	entries, err := os.ReadDir(dir)
	postgrestest.Check(t, err)
	for _, e := range entries {
		info, err := e.Info()
		postgrestest.Check(t, err)
		path := filepath.Join(dir, e.Name())
		postgrestest.Check(t, os.Truncate(path, 0))
		postgrestest.Check(t, os.Truncate(path, info.Size()))
	}
}
