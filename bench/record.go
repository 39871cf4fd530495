package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"golang.org/x/sys/unix"
)

// record is the outcome of one call of the program.
type record struct {
	Machine      machine           `json:"machine"`
	Commit       string            `json:"commit"` // "+" at its end: the working tree was changed
	Began        time.Time         `json:"began"`
	Ended        time.Time         `json:"ended"`
	SizeMB       int64             `json:"sizeMB"`
	Rows         int64             `json:"rows,omitempty"` // of the table of which some are missing, where that was measured
	Runs         int               `json:"runs"`
	Load         string            `json:"load"`         // how long each load lasted
	LoadAverages []string          `json:"loadAverages"` // of the machine, over 1, 5 and 15 minutes, at each run's beginning
	Checks       int               `json:"checks"`       // how often announced positions were compared with the objects
	Figures      []*figure         `json:"figures"`
	Costs        map[string][]cost `json:"costs"` // by the measured piece: who used the CPU
}

type machine struct {
	Cores     int     `json:"cores"`
	Processor string  `json:"processor"`
	MemoryGB  float64 `json:"memoryGB"`
	Kernel    string  `json:"kernel"`
	Postgres  string  `json:"postgres"`
	Go        string  `json:"go"`
}

func newRecord(o options) *record {
	r := &record{
		Machine: describeMachine(), Commit: commitID(), Began: time.Now().UTC(), SizeMB: o.sizeMB, Runs: o.runs, Load: o.load.String(),
		Costs: map[string][]cost{},
	}
	if o.wants("missing") {
		r.Rows = o.rows
	}
	return r
}

func describeMachine() machine {
	m := machine{Cores: runtime.NumCPU(), Go: runtime.Version()}
	var u unix.Utsname
	if err := unix.Uname(&u); err == nil {
		m.Kernel = unix.ByteSliceToString(u.Sysname[:]) + " " + unix.ByteSliceToString(u.Release[:])
	}
	m.Processor = procField("/proc/cpuinfo", "model name")
	var kb float64
	if _, err := fmt.Sscanf(procField("/proc/meminfo", "MemTotal"), "%f", &kb); err == nil {
		m.MemoryGB = kb * 1024 / giga
	}
	return m
}

// procField returns the first value of a name in a file of lines "name : value", or "".
func procField(path, name string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	for l := range strings.Lines(string(b)) {
		if k, v, ok := strings.Cut(l, ":"); ok && strings.TrimSpace(k) == name {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

func commitID() string {
	out, err := exec.Command("git", "describe", "--always", "--dirty=+", "--exclude=*").Output()
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(out))
}

func (r *record) figure(name, unit string) *figure {
	for _, f := range r.Figures {
		if f.Name == name {
			return f
		}
	}
	f := &figure{Name: name, Unit: unit}
	r.Figures = append(r.Figures, f)
	return f
}

// add adds a run's value.
func (r *record) add(name, unit string, value float64) {
	f := r.figure(name, unit)
	f.Values = append(f.Values, value)
	note("  %-52s %10s %s", name, number(value), unit)
}

// addBeside adds a run's value with the reference's.
func (r *record) addBeside(name, unit string, value float64, reference string, beside float64) {
	r.add(name, unit, value)
	f := r.figure(name, unit)
	f.Reference, f.Beside = reference, append(f.Beside, beside)
	note("  %52s %10s %s", reference, number(beside), unit)
}

// explain keeps who used the CPU.
func (r *record) explain(name string, c cost) {
	r.Costs[name] = append(r.Costs[name], c)
	note("    %s", c)
}

func (c cost) String() string {
	return fmt.Sprintf("%.1f s; CPU seconds: its own %.1f, PostgreSQL %.1f, buckets %.1f, load and looking on %.1f, everything else %.1f",
		c.Seconds, c.CPU, c.Server, c.Storage, c.Load, c.Others)
}

func (r *record) addLoadAverage() {
	b, err := os.ReadFile("/proc/loadavg")
	if err == nil {
		r.LoadAverages = append(r.LoadAverages, strings.Join(strings.Fields(string(b))[:3], " "))
	}
}

func (r *record) finish() {
	r.Ended = time.Now().UTC()
	for _, f := range r.Figures {
		f.conclude()
	}
}

func (r *record) headline() string {
	m := r.Machine
	data := fmt.Sprintf("database of %d MB", r.SizeMB)
	if r.Rows > 0 {
		data += ", table of " + millions(r.Rows) + " rows"
	}
	return fmt.Sprintf("PostgreSQL %s, %s, %d runs, loads of %s; %d cores (%s), %.0f GB, %s, %s; commit %s, %s to %s UTC",
		m.Postgres, data, r.Runs, r.Load, m.Cores, m.Processor, m.MemoryGB, m.Kernel, m.Go, r.Commit,
		r.Began.Format("2006-01-02 15:04"), r.Ended.Format("15:04"))
}

// table is for a terminal.
func (r *record) table() string {
	var b strings.Builder
	fmt.Fprintf(&b, "\n%s\n\n", r.headline())
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, strings.Join(columns, "\t"))
	for _, f := range r.Figures {
		fmt.Fprintln(w, strings.Join(f.cells(), "\t"))
	}
	_ = w.Flush() // a strings.Builder takes everything
	return b.String()
}

const reading = `MB and GB are decimal. CPU is that of the measured process alone. Lag is the other region's: from a commit's acknowledgement
until the shipper says, every 50 ms, that this bucket holds it; WAL is cut after 1 s or 16 MiB. Everything runs on the same cores.

`

// markdown is for bench/results.
func (r *record) markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "# Measured on %s\n\n%s.\n\n", r.Began.Format("2 January 2006"), r.headline())
	fmt.Fprintf(&b, "Load average of the machine (1, 5, 15 minutes) at the beginning of each run: %s. Announced positions were compared with\nthe bucket's objects %d times, and never were ahead of them.\n\n",
		strings.Join(r.LoadAverages, "; "), r.Checks)
	fmt.Fprint(&b, reading)
	fmt.Fprintf(&b, "| %s |\n|%s\n", strings.Join(columns, " | "), strings.Repeat(" --- |", len(columns)))
	for _, f := range r.Figures {
		fmt.Fprintf(&b, "| %s |\n", strings.Join(f.cells(), " | "))
	}
	fmt.Fprint(&b, "\n## Where the CPU went\n\nWall time and CPU seconds of each piece, run by run.\n\n")
	for _, name := range slices.Sorted(maps.Keys(r.Costs)) {
		for _, c := range r.Costs[name] {
			fmt.Fprintf(&b, "- %s: %s\n", name, c)
		}
	}
	return b.String()
}

// write puts both forms into dir. A second measurement on the same day gets a number.
func (r *record) write(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	j, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	name := filepath.Join(dir, fmt.Sprintf("%s-%dc", r.Began.Format("2006-01-02"), r.Machine.Cores))
	for n := 2; ; n++ {
		if _, err := os.Stat(name + ".md"); errors.Is(err, fs.ErrNotExist) {
			break
		}
		name = filepath.Join(dir, fmt.Sprintf("%s-%dc-%d", r.Began.Format("2006-01-02"), r.Machine.Cores, n))
	}
	note("writing %s.md", name)
	return errors.Join(os.WriteFile(name+".md", []byte(r.markdown()), 0o644), os.WriteFile(name+".json", append(j, '\n'), 0o644))
}
