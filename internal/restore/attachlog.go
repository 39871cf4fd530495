package restore

import (
	"regexp"
	"strconv"
	"strings"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/postgres"
	"github.com/smartdr/smartdr/internal/wal"
)

// recoveryLog is what a server's log says of its recovery.
type recoveryLog struct {
	lines      []string // without refused connections and repetitions
	consistent bool
	paused     bool
	ended      bool    // the last thing it met was the end of its WAL
	end        wal.LSN // where
}

// endOfWAL matches what xlogreader.c reports where valid WAL ends; with lc_messages=C. The position is
// named by LSN, or in version 15 for bad page headers by file and offset.
var endOfWAL = regexp.MustCompile(`^(?:invalid record length|invalid magic number|invalid info bits|record with incorrect prev-link|record with invalid length|` +
	`invalid resource manager ID|incorrect resource manager data checksum|invalid record offset|unexpected pageaddr|there is no contrecord flag|` +
	`invalid contrecord length|missing contrecord|contrecord is requested|out-of-sequence timeline ID|could not read from (?:log|WAL) (?:segment|file))`)

var (
	lsnInMessage  = regexp.MustCompile(`(?:at|LSN) ([0-9A-F]+/[0-9A-F]+)`)
	fileInMessage = regexp.MustCompile(`(?:segment|file) ([0-9A-F]{24}), (?:LSN [0-9A-F/]+, )?offset (\d+)`)
)

// readRecoveryLog reads the log of a run.
func readRecoveryLog(log []postgres.LogLine, size wal.SegmentSize) recoveryLog {
	var r recoveryLog
	refused := false
	for _, l := range log {
		// While the server runs, FATAL is a connection that was refused; what explains it follows.
		refused = l.Severity == "FATAL" || refused && (l.Severity == "DETAIL" || l.Severity == "HINT")
		if refused {
			continue
		}
		if n := len(r.lines); n > 0 && r.lines[n-1] == l.Text {
			continue // "waiting for WAL to become available", at every retry
		}
		r.lines = append(r.lines, l.Text)
		r.consistent = r.consistent || strings.HasPrefix(l.Text, "consistent recovery state reached")
		r.paused = r.paused || strings.HasPrefix(l.Text, "recovery has paused")
		if endOfWAL.MatchString(l.Text) {
			r.end, r.ended = positionIn(l.Text, size)
			continue
		}
		if strings.HasPrefix(l.Text, "restored log file") || strings.HasPrefix(l.Text, "started streaming") {
			r.ended = false
		}
	}
	return r
}

// positionIn finds the position that a message names.
func positionIn(text string, size wal.SegmentSize) (wal.LSN, bool) {
	if m := fileInMessage.FindStringSubmatch(text); m != nil && size.Valid() {
		return filePosition(m[1], m[2], size)
	}
	m := lsnInMessage.FindStringSubmatch(text)
	if m == nil {
		return 0, false
	}
	lsn, err := wal.ParseLSN(m[1])
	return lsn, err == nil
}

// filePosition turns a segment file's name and an offset into it into a position (XLogFromFileName).
func filePosition(name, offset string, size wal.SegmentSize) (wal.LSN, bool) {
	id, err1 := strconv.ParseUint(name[8:16], 16, 32)
	seg, err2 := strconv.ParseUint(name[16:24], 16, 32)
	off, err3 := strconv.ParseUint(offset, 10, 32)
	if err1 != nil || err2 != nil || err3 != nil {
		return 0, false
	}
	return wal.LSN(id<<32 + seg*uint64(size) + off), true
}

// reason returns the last lines that say something about why recovery stands still.
func (r recoveryLog) reason() string {
	if len(r.lines) == 0 {
		return "it logged nothing"
	}
	return strings.Join(r.lines[max(0, len(r.lines)-3):], "; ")
}

// pageInMessage matches the warnings of xlogutils.c about pages that replay wanted and did not find as they should be.
var pageInMessage = regexp.MustCompile(`^page \d+ of relation (\S+) (?:is uninitialized|does not exist)`)

// checkPages fails when replay ignored a page of a database that was not left out. Those that were left out are zeros,
// and replay stumbles over them; so are copies of them.
func (a *attach) checkPages() error {
	if len(a.OmittedDatabases) == 0 {
		return nil
	}
	zeros := a.zeros()
	for _, l := range a.Server.WholeLog() {
		m := pageInMessage.FindStringSubmatch(l.Text)
		if m == nil {
			continue
		}
		if oid, ok := databaseIn(m[1]); !ok || !zeros[oid] {
			return fault.Newf(fault.Corrupt, opAttach, "replay met a damaged page outside of the databases that were left out: %s", l.Text).
				WithHint("Restore from another snapshot.")
		}
	}
	return nil
}

// zeros are the databases that were left out, and the copies that replay makes of them, and of those.
func (a *attach) zeros() map[uint32]bool {
	zeros := map[uint32]bool{}
	for _, oid := range a.OmittedDatabases {
		zeros[oid] = true
	}
	for _, c := range a.FileCopies {
		if c.SourceDatabase != c.Database { // else it was moved to another tablespace
			zeros[c.Database] = zeros[c.SourceDatabase]
		}
	}
	return zeros
}

// databaseIn returns the database that a relation's path, base/<database>/... or pg_tblspc/<oid>/<version>/<database>/...,
// lies in.
func databaseIn(path string) (oid uint32, ok bool) {
	parts := strings.Split(path, "/")
	at := 1
	if parts[0] == "pg_tblspc" {
		at = 3
	} else if parts[0] != "base" {
		return 0, false
	}
	if len(parts) <= at {
		return 0, false
	}
	n, err := strconv.ParseUint(parts[at], 10, 32)
	return uint32(n), err == nil
}
