package missing_test

import (
	"testing"

	"github.com/smartdr/smartdr/internal/postgres"
	"github.com/smartdr/smartdr/internal/postgres/postgrestest"
)

const scanTables = `create table t (id int primary key, n int, v text, big text); alter table t alter big set storage external;
	create index on t (v); create table u (k int primary key, n int) with (fillfactor = 50); create sequence s;
	insert into t select i, i, 'v' || i, case when i % 10 = 0 then repeat(i::text, 2000) end from generate_series(1, 500) i;
	insert into u select i, i from generate_series(1, 500) i`

func TestAScanFindsWhatATransactionDidThatWasOpenAtTheFork(t *testing.T) {
	postgrestest.ForEach(t, func(t *testing.T, bin postgres.Binaries) {
		w := newWriter(t, bin, nil, scanTables)
		early := w.open()
		run(t, early, "begin; insert into t values (1001); update t set n = 0 where id = 1; delete from t where id = 2")
		w.do("checkpoint", "insert into t values (1002)")
		w.part()
		w.do("update t set n = -1 where id = 3", "delete from t where id = 4", "begin; delete from t where id = 5; rollback")
		run(t, early, "commit")
		w.tip = w.at()
		c := w.scan()
		if new, old := w.compare(c); new != 3 || old != 4 {
			t.Errorf("%d row versions appeared, %d vanished", new, old)
		}
		if c.Expired || c.From >= c.Fork || len(c.Commits) != 4 {
			t.Errorf("from %s, fork %s, expired %t, %d commits", c.From, c.Fork, c.Expired, len(c.Commits))
		}
	})
}
