package wal

import "encoding/binary"

// RecordOf is a record as the scanner hands it over, of its bytes and of the page's magic number.
func RecordOf(raw []byte, magic uint16) Record {
	r := Record{Start: 0x1000028, XID: binary.LittleEndian.Uint32(raw[4:]), magic: magic}
	r.describe(raw)
	return r
}

// Raw are its bytes.
func (r Record) Raw() ([]byte, uint16) { return r.raw, r.magic }

// MainData is a record's main data.
func MainData(raw []byte) []byte { return mainData(raw) }
