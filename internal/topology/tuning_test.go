package topology

import (
	"strconv"
	"strings"
	"testing"

	"github.com/smartdr/smartdr/internal/fault"
)

func TestTuningFitsTheSize(t *testing.T) {
	for _, name := range SizeNames() {
		size, err := ParseSize(name)
		if err != nil {
			t.Fatal(err)
		}
		tuned := size.Tuning()
		buffers, cache, work := megabytes(t, tuned["shared_buffers"]), megabytes(t, tuned["effective_cache_size"]), megabytes(t, tuned["work_mem"])
		memory := size.MemoryBytes >> 20
		connections, err := strconv.ParseInt(tuned["max_connections"], 10, 64)
		if err != nil || buffers != memory/4 || cache != memory/4*3 || buffers+work*connections > memory {
			t.Errorf("%s with %d MB: %v", name, memory, tuned)
		}
		if err := CheckSettings(tuned); err != nil {
			t.Error(err)
		}
	}
	if got := (Size{}).Tuning(); len(got) > 0 {
		t.Errorf("no size asks for %v", got)
	}
}

func megabytes(t *testing.T, s string) int64 {
	t.Helper()
	shift := 0
	digits, ok := strings.CutSuffix(s, "MB")
	if !ok {
		digits, shift = strings.TrimSuffix(s, "kB"), 10
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n >> shift
}

func TestCheckSettings(t *testing.T) {
	good := map[string]string{"work_mem": "64MB", "wal_level": "logical", "full_page_writes": "on", "app.region": "east", "shared_preload_libraries": "pg_stat_statements"}
	if err := CheckSettings(good); err != nil {
		t.Error(err)
	}
	for name, value := range map[string]string{
		"port": "5432", "archive_command": "cp", "primary_conninfo": "host=x password=y", "listen_addresses": "*", "data_directory": "/x",
		"hba_file": "/x", "synchronous_standby_names": "a", "ssl_passphrase_command": "echo x", "allow_alter_system": "off",
		"wal_level": "minimal", "full_page_writes": "off", "Work_mem": "1MB", "work mem": "1", "work_mem": "1MB\nport=1", "": "x",
	} {
		err := CheckSettings(map[string]string{name: value})
		if !fault.Is(err, fault.Invalid) || fault.HintOf(err) == "" {
			t.Errorf("%q=%q: %v", name, value, err)
		}
	}
}

func TestChangeable(t *testing.T) {
	free, over, busy := Group{Name: "prod"}, Group{Name: "prod", State: GroupTerminated}, Group{Name: "prod", Operation: &OperationRef{ID: "op", Kind: "Failover"}}
	if err := free.Changeable("change"); err != nil {
		t.Error(err)
	}
	for _, g := range []Group{over, busy} {
		if err := g.Changeable("change"); err == nil || fault.HintOf(err) == "" {
			t.Errorf("%+v: %v", g, err)
		}
	}
}
