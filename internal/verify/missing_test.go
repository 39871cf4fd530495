package verify_test

import (
	rows "github.com/smartdr/smartdr/internal/missing"
)

const kindOfSet, kindOfUndo = rows.SetObject, rows.UndoObject

// comparison stores what a comparison of a lineage keeps, whole and as it ought to be, and returns the key of a part of one kind.
func (b *bucket) comparison(lineage string, kind rows.Kind) string {
	b.t.Helper()
	p := rows.Place{Group: "prod", Workspace: "orders", Lineage: lineage, Tip: 1 << 30, Database: "app"}
	keys := map[rows.Kind]string{rows.SetObject: p.SetKey(false), rows.ReportObject: p.ReportKey("r-1"), rows.UndoObject: p.UndoKey("r-1", 7)}
	if lineage != first { // one object, so that there is one finding
		keys = map[rows.Kind]string{kind: keys[kind]}
	}
	part := ""
	for k, key := range keys {
		w := rows.CreateObject(b.t.Context(), b.Memory, key)
		_, err := w.Write([]byte("rows"))
		check(b.t, err)
		check(b.t, w.Publish(b.t.Context(), rows.Object{Kind: k}))
		o, err := rows.ReadObject(b.t.Context(), b.Memory, key)
		check(b.t, err)
		if k == kind {
			part = o.Parts[0].Key
		}
	}
	return part
}
