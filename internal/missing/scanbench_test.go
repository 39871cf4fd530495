package missing_test

import (
	"runtime"
	"testing"

	"github.com/smartdr/smartdr/internal/postgres/postgrestest"
)

// A benchmark of what a scan costs: two million rows that one transaction inserts, and as many that another changes all over the table.
func BenchmarkScan(b *testing.B) {
	bins := postgrestest.Installations(b)
	w := newWriter(b, bins[len(bins)-1], map[string]string{"max_wal_size": "8GB", "shared_buffers": "256MB"}, `create table t (id int primary key, n int, v text);
		create index on t (n); insert into t select i, i from generate_series(1, 2000000) i; checkpoint`)
	w.fork = w.at()
	w.do("insert into t select i, i from generate_series(2000001, 4000000) i", "update t set n = -n where id <= 1000000",
		`create temporary table spread as select i from generate_series(1000001, 2000000) i order by random()`, // one after the other, in any order
		"do $$ declare r record; begin for r in select i from spread loop delete from t where id = r.i; end loop; end $$")
	w.tip = w.at()
	b.SetBytes(int64(w.tip - w.fork))
	b.ResetTimer()
	for b.Loop() {
		before := heap()
		c := w.scan()
		rows := int64(0)
		for _, t := range c.Tables {
			rows += t.New.Len() + t.Old.Len()
		}
		b.ReportMetric(float64(rows), "places")
		b.ReportMetric(float64(heap()-before)/(1<<20), "MiB-kept")
		runtime.KeepAlive(c)
	}
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	b.ReportMetric(float64(stats.HeapSys)/(1<<20), "MiB-at-most")
}

func heap() int64 {
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapAlloc)
}
