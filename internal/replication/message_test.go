package replication

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/smartdr/smartdr/internal/wal"
)

func TestParseMessage(t *testing.T) {
	at := time.Date(2026, 11, 22, 22, 10, 0, 1000, time.UTC)
	clock := uint64(at.Sub(postgresEpoch).Microseconds())
	words := func(kind byte, vs ...uint64) []byte {
		b := []byte{kind}
		for _, v := range vs {
			b = binary.BigEndian.AppendUint64(b, v)
		}
		return b
	}
	for _, c := range []struct {
		in   []byte
		want Message
	}{
		{append(words('w', 16, 32, clock), "wal"...), Data{Start: 16, ServerEnd: 32, SentAt: at, Bytes: []byte("wal")}},
		{append(words('k', 32, clock), 1), Keepalive{ServerEnd: 32, SentAt: at, ReplyRequested: true}},
		{append(words('k', 32, clock), 0), Keepalive{ServerEnd: 32, SentAt: at}},
		{nil, nil}, {words('k', 32), nil}, {words('w', 16, 32), nil}, {words('x', 1, 2, 3), nil},
	} {
		got, err := parseMessage(c.in)
		if (err != nil) != (c.want == nil) {
			t.Errorf("%x: %v", c.in, err)
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%x (-want +got):\n%s", c.in, diff)
		}
	}
}

func TestAppendStatus(t *testing.T) {
	b := appendStatus(nil, 7, 5, postgresEpoch.Add(time.Second), true)
	if b[0] != 'd' || int(binary.BigEndian.Uint32(b[1:])) != len(b)-1 || b[5] != 'r' {
		t.Fatalf("framing: %x", b)
	}
	got := []uint64{be64(b[6:]), be64(b[14:]), be64(b[22:]), be64(b[30:]), uint64(b[38])}
	if diff := cmp.Diff([]uint64{7, 5, 0, 1_000_000, 1}, got); diff != "" || len(b) != 39 {
		t.Errorf("%d bytes, write, flush, apply, clock, reply (-want +got):\n%s", len(b), diff)
	}
}

func TestParseSegmentSize(t *testing.T) {
	for text, want := range map[string]wal.SegmentSize{"16MB": 16 << 20, "1MB": 1 << 20, "1GB": 1 << 30, "": 0, "MB": 0, "3MB": 0, "16": 0, "2GB": 0, "99999GB": 0, "-1MB": 0} {
		got, err := parseSegmentSize(text)
		if got != want && err == nil || (err != nil) != (want == 0) {
			t.Errorf("%q: %d, %v", text, got, err)
		}
	}
}

func FuzzParseMessage(f *testing.F) {
	f.Add([]byte("w00000000111111112222222233"))
	f.Fuzz(func(_ *testing.T, b []byte) { _, _ = parseMessage(b) })
}

func FuzzPayload(f *testing.F) {
	f.Add([]byte("nbase.tar\x00\x00"))
	f.Fuzz(func(_ *testing.T, data []byte) { _ = (&Backup{}).payload(data) })
}
