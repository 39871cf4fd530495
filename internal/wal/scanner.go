package wal

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
)

// What is kept of a record that spans pages, in bytes, so that it can be described; keeping no more bounds the scanner's memory. A heap
// record, with the images of two pages, two row versions and the old one for logical decoding, is shorter than keepPrefix. The end of a
// transaction lists each subtransaction and each file that goes with it: keepEnding has room for 30 million. A buffer that grew beyond
// keepBuffer is given back.
const (
	keepPrefix = 64 << 10
	keepEnding = 128 << 20
	keepBuffer = 1 << 20
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// ScanError says where WAL is not what PostgreSQL writes.
type ScanError struct {
	At     LSN
	Reason string
}

func (e *ScanError) Error() string { return fmt.Sprintf("WAL at %s: %s", e.At, e.Reason) }

// Scanner finds the records in WAL that it is fed in pieces of any size, in order, and checks their CRC. It begins
// anywhere: records are found from the first page header on. Its memory is bounded.
type Scanner struct {
	size SegmentSize
	at   LSN  // next byte wanted
	fed  bool // at is valid
	sync bool // a record boundary is known

	page  []byte // beginning of a page header that a feed cut
	start LSN    // of the record that has begun
	head  [recordHeader]byte
	body  []byte // first bytes of that record when it spans pages or feeds; empty: none has begun
	total int    // its xl_tot_len; 0 while that is unknown
	got   int    // bytes of it seen
	crc   uint32 // of what was seen behind its header
	skip  int    // bytes of a record to pass over whose beginning was not seen
	jump  LSN    // after XLOG_SWITCH: the next segment file, where scanning goes on

	recordEnd LSN
	magic     uint16 // of the last page; 0: none was seen yet
}

// NewScanner returns a scanner for a server with WAL segment files of that size.
func NewScanner(size SegmentSize) *Scanner { return &Scanner{size: size} }

// ResumeScanner returns a scanner that knows where a record ended: what it is fed first must contain that position, or
// begin there. recordEnd lies beyond what was stored when the last record was a log switch.
func ResumeScanner(size SegmentSize, recordEnd LSN) *Scanner {
	return &Scanner{size: size, sync: true, jump: recordEnd, recordEnd: recordEnd}
}

// RecordEnd returns the end of the last complete record that was found, or 0. After a log switch (XLOG_SWITCH) it is the
// end of the segment file, which may not have been fed yet.
func (s *Scanner) RecordEnd() LSN { return s.recordEnd }

// At returns the position after the last byte that was fed.
func (s *Scanner) At() LSN { return s.at }

// Feed scans b, whose first byte is at position at, and calls visit for every record that ends in it. at must be where
// the last feed ended. Errors are *ScanError; after one, the scanner looks for the next page header in what it is fed next.
func (s *Scanner) Feed(at LSN, b []byte, visit func(Record)) error {
	if s.fed && at != s.at {
		err := &ScanError{at, fmt.Sprintf("fed out of order: %s was next", s.at)}
		s.lose(at)
		return err
	}
	s.at, s.fed = at, true
	end := at + LSN(len(b))
	if err := s.scan(b, visit); err != nil {
		s.lose(end)
		return err
	}
	return nil
}

// lose forgets the record that has begun.
func (s *Scanner) lose(at LSN) {
	*s = Scanner{size: s.size, at: at, fed: true, recordEnd: s.recordEnd, body: s.body[:0], page: s.page[:0], magic: s.magic}
}

func (s *Scanner) scan(b []byte, visit func(Record)) error {
	for len(b) > 0 {
		var n int
		var err error
		switch off := int(s.at % PageSize); {
		case s.jump > s.at:
			n = int(min(LSN(len(b)), s.jump-s.at))
		case off == 0 || len(s.page) > 0:
			n, err = s.pageHeader(b)
		case !s.sync && s.skip == 0:
			n = min(len(b), PageSize-off) // to the next page
		default:
			n, err = s.record(b[:min(len(b), PageSize-off)], visit)
		}
		if err != nil {
			return err
		}
		b = b[n:]
		s.at += LSN(n)
	}
	return nil
}

// pageHeader takes up to a page header from b and returns how many bytes.
func (s *Scanner) pageHeader(b []byte) (int, error) {
	pageAt := s.at - LSN(len(s.page))
	size := shortPageHeader
	if s.size.Start(pageAt) == pageAt {
		size = longPageHeader
	}
	n := min(len(b), size-len(s.page))
	s.page = append(s.page, b[:n]...)
	if len(s.page) < size {
		return n, nil
	}
	h := s.page
	s.page = s.page[:0]
	return n, s.enterPage(pageAt, h)
}

// enterPage checks a page header (XLogPageHeaderData) and what it says about the record that crosses into the page.
func (s *Scanner) enterPage(at LSN, h []byte) error {
	info := binary.LittleEndian.Uint16(h[2:])
	if got := LSN(binary.LittleEndian.Uint64(h[8:])); got != at {
		return &ScanError{at, fmt.Sprintf("the page header is that of %s", got)}
	}
	s.magic = binary.LittleEndian.Uint16(h)
	rem := int(binary.LittleEndian.Uint32(h[16:]))
	continues := info&pageContinues != 0
	switch {
	case info&pageOverwritesBegun != 0:
		s.abandon() // a crash cut the record that had begun; the server wrote over the rest
	case !s.sync && s.skip == 0:
		s.sync = true
		if continues {
			s.skip, s.sync = rem, false
		}
	case continues != s.inRecord():
		return &ScanError{at, fmt.Sprintf("the page header says that a record continues here: %t, but it is %t", continues, s.inRecord())}
	case continues && rem != s.remaining() && s.total > 0 || continues && s.skip > 0 && rem != s.skip:
		return &ScanError{at, fmt.Sprintf("the page header says that %d bytes of a record follow, but it is %d", rem, s.remaining())}
	}
	return nil
}

func (s *Scanner) inRecord() bool { return s.got > 0 || s.skip > 0 }

// remaining returns how many bytes of the record that has begun are still to come.
func (s *Scanner) remaining() int {
	if s.skip > 0 {
		return s.skip
	}
	return s.total - s.got
}

func (s *Scanner) abandon() {
	s.got, s.total, s.crc, s.skip, s.sync = 0, 0, 0, 0, true
	s.body = s.body[:0]
}

// record takes bytes of one record from b, which does not reach beyond the page, and returns how many.
func (s *Scanner) record(b []byte, visit func(Record)) (int, error) {
	if s.skip > 0 {
		return s.skipped(b), nil
	}
	if s.got == 0 {
		if pad := int(-s.at & 7); pad > 0 { // records begin at multiples of 8
			return min(pad, len(b)), nil
		}
		s.start = s.at
		if n, err := s.whole(b, visit); n > 0 || err != nil {
			return n, err
		}
	}
	return s.part(b, visit)
}

// skipped passes over the end of a record whose beginning was not seen.
func (s *Scanner) skipped(b []byte) int {
	n := min(len(b), s.skip)
	if s.skip -= n; s.skip == 0 {
		s.sync = true
		s.recordEnd = align(s.at + LSN(n))
	}
	return n
}

// whole handles a record that lies in b completely, without copying it: nearly all do. It returns 0 when b ends earlier.
func (s *Scanner) whole(b []byte, visit func(Record)) (int, error) {
	if len(b) < recordHeader {
		return 0, nil
	}
	total, err := s.length(b)
	if err != nil || total > len(b) {
		return 0, err
	}
	b = b[:total]
	return total, s.finish(b, crc32.Update(0, castagnoli, b[recordHeader:]), s.at+LSN(total), visit)
}

// length reads and checks xl_tot_len.
func (s *Scanner) length(b []byte) (int, error) {
	n := int(binary.LittleEndian.Uint32(b))
	if n < recordHeader || n > maxRecord {
		return 0, &ScanError{s.start, fmt.Sprintf("a record of %d bytes", n)}
	}
	return n, nil
}

// part collects a record that goes on in the next page or feed.
func (s *Scanner) part(b []byte, visit func(Record)) (int, error) {
	if s.got < recordHeader {
		n := copy(s.head[s.got:], b)
		if s.got += n; s.got < recordHeader {
			if s.total == 0 && s.got >= 4 {
				var err error
				s.total, err = s.length(s.head[:])
				return n, err
			}
			return n, nil
		}
		var err error
		s.total, err = s.length(s.head[:])
		s.body = append(s.body[:0], s.head[:]...)
		if err == nil && s.total == recordHeader {
			err = s.complete(s.at+LSN(n), visit)
		}
		return n, err
	}
	n := min(len(b), s.total-s.got)
	s.crc = crc32.Update(s.crc, castagnoli, b[:n])
	s.body = append(s.body, b[:min(n, max(0, s.keep()-len(s.body)))]...)
	if s.got += n; s.got < s.total {
		return n, nil
	}
	return n, s.complete(s.at+LSN(n), visit)
}

// keep is how many bytes of the record that has begun are kept.
func (s *Scanner) keep() int {
	if s.head[17] == rmXact {
		return keepEnding
	}
	return keepPrefix
}

func (s *Scanner) complete(end LSN, visit func(Record)) error {
	b, crc := s.body, s.crc
	s.abandon()
	if cap(s.body) > keepBuffer {
		s.body = nil
	}
	return s.finish(b, crc, end, visit)
}

// finish checks a record's CRC (the data first, then the header before xl_crc) and hands it over. end is where its last
// byte ends.
func (s *Scanner) finish(b []byte, crc uint32, end LSN, visit func(Record)) error {
	crc = crc32.Update(crc, castagnoli, b[:crcOffset])
	if want := binary.LittleEndian.Uint32(b[crcOffset:]); crc != want {
		return &ScanError{s.start, fmt.Sprintf("the record's CRC is %08X, not %08X", crc, want)}
	}
	r := Record{Start: s.start, End: align(end), XID: binary.LittleEndian.Uint32(b[4:]), magic: s.magic}
	if b[17] == rmXLOG && b[16]&infoMask == xlogSwitch && r.End%LSN(s.size) != 0 {
		s.jump = s.size.Next(r.Start) // the rest of the file is filled up
		r.End = s.jump
	}
	s.recordEnd = r.End
	if visit != nil {
		r.describe(b)
		visit(r)
	}
	return nil
}

// align rounds up to a multiple of 8 (MAXALIGN).
func align(l LSN) LSN { return (l + 7) &^ 7 }
