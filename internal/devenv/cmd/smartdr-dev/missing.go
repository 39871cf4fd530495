package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/smartdr/smartdr/internal/devenv"
	"github.com/smartdr/smartdr/internal/devenv/ledger"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/wal"
)

// broughtHome is what the lost region had committed and the failover had not brought back: found, settled and merged.
type broughtHome struct {
	lacked  map[string]int // acknowledged commits that were missing in what serves, by database
	settled int            // conflicts that were decided
	merged  int64          // rows
	took    time.Duration  // from the command that merges to its end
}

// decisions is the file that says what becomes of conflicts.
const decisions = "decisions.yaml"

// bringHome finds the rows that the lost region still committed, settles what conflicts with what was written since, and merges them: then
// every commit that was ever acknowledged is there.
func (d *demo) bringHome(ctx context.Context) error {
	for _, step := range []func(context.Context) error{d.countMissing, d.listMissing, d.settle, d.merge, d.checkAll} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// countMissing compares the ledgers of before the loss with what serves.
func (d *demo) countMissing(ctx context.Context) error {
	d.home.brought.lacked = map[string]int{}
	for db := range owners {
		missing, err := d.missing(ctx, db)
		if err != nil {
			return err
		}
		d.home.brought.lacked[db] = len(missing)
	}
	return nil
}

// missing returns the commits that were acknowledged before the loss and are not in the active database.
func (d *demo) missing(ctx context.Context, db string) ([]ledger.Commit, error) {
	conn, err := d.open(ctx, db)
	if err != nil {
		return nil, err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	rows, err := conn.Query(ctx, "select id from transfers")
	if err != nil {
		return nil, err
	}
	there := map[string]bool{}
	var id string
	if _, err := pgx.ForEachRow(rows, []any{&id}, func() error { there[id] = true; return nil }); err != nil {
		return nil, err
	}
	return slices.DeleteFunc(d.loads[db].Commits(), func(c ledger.Commit) bool { return there[c.ID] }), nil
}

// listMissing counts the rows of all databases and has the conflicts written down; then it shows some of one.
func (d *demo) listMissing(ctx context.Context) error {
	d.say("What %s still committed and %s lacks: smartdr missing-rows %s --plan %s", devenv.Primary, devenv.Secondary, devenv.GroupName, decisions)
	began := time.Now()
	if err := d.lists(ctx, "--examples", "0", "--plan", decisions); err != nil {
		return err
	}
	fmt.Printf("\n         found after %.1f s; by the ledgers, clients had been told of %d commits that are not there\n", time.Since(began).Seconds(), d.home.brought.lackedInAll())
	d.say("Row by row, with what each side made of it: smartdr missing-rows %s %s --examples 1", devenv.GroupName, appDB)
	return d.lists(ctx, appDB, "--examples", "1")
}

// rowsAreMissing is the exit code of a list that is not empty.
const rowsAreMissing = 11

// lists runs `smartdr missing-rows` where rows are missing.
func (d *demo) lists(ctx context.Context, args ...string) error {
	err := d.cli(ctx, append([]string{"missing-rows", devenv.GroupName}, args...)...)
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == rowsAreMissing {
		return nil
	}
	if err == nil {
		d.broken = append(d.broken, "missing-rows finds nothing, and the ledgers say that commits are missing")
	}
	return err
}

func (b broughtHome) lackedInAll() (n int) {
	for _, missing := range b.lacked {
		n += missing
	}
	return n
}

// settle edits the plan as somebody would who knows the application: a balance that both sides changed gets what each of them did to it.
func (d *demo) settle(context.Context) error {
	plan := filepath.Join(d.dir, decisions)
	text, err := os.ReadFile(plan)
	if err != nil {
		return err
	}
	edited, n, err := addBothUp(string(text))
	if err != nil {
		return err
	}
	d.home.brought.settled = n
	d.say("Both sides changed %d accounts: each balance gets what either did to it. Editing %s, as for the first:", n, decisions)
	fmt.Printf("\n%s", firstSettled(edited))
	return os.WriteFile(plan, []byte(edited), 0o600)
}

// firstSettled is the first entry with a value, indented.
func firstSettled(plan string) string {
	var b strings.Builder
	_, entries, _ := strings.Cut(plan, "  - id:")
	entry, _, _ := strings.Cut(entries, "  - id:")
	for line := range strings.Lines("  - id:" + entry) {
		b.WriteString("       " + line)
	}
	return b.String()
}

// merge merges by the plan, and asks what that did.
func (d *demo) merge(ctx context.Context) error {
	d.say("Merging: smartdr missing-rows %s --decisions %s --apply", devenv.GroupName, decisions)
	began := time.Now()
	if err := d.cli(ctx, "missing-rows", devenv.GroupName, "--decisions", decisions, "--apply", "--yes", "--examples", "0"); err != nil {
		return err
	}
	d.home.brought.took = time.Since(began)
	var now topology.GroupStatus
	if err := d.cliJSON(ctx, &now, "status", "--group", devenv.GroupName); err != nil {
		return err
	}
	for _, s := range now.Group.SystemManaged {
		if s.Merged != nil {
			d.home.brought.merged += s.Merged.Applied
		}
	}
	return nil
}

// checkAll demands every commit that was ever acknowledged, on either side, and whole.
func (d *demo) checkAll(ctx context.Context) error {
	d.say("Checking by the ledgers that every commit that was ever acknowledged is there")
	for _, db := range slices.Sorted(maps.Keys(owners)) {
		if err := d.checkEvery(ctx, db, "after the merge"); err != nil {
			return err
		}
		fmt.Printf("         %-10s %d of before the loss, %d of which had been missing, and %d of after it\n", db, len(d.loads[db].Commits()), d.home.brought.lacked[db], len(d.after[db]))
	}
	return nil
}

// checkEvery demands of a database what its ledgers of before and after the failover say.
func (d *demo) checkEvery(ctx context.Context, db, when string) error {
	conn, err := d.open(ctx, db)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	all := slices.Concat(d.loads[db].Commits(), d.after[db])
	r, err := ledger.Verify(ctx, conn, all, ^wal.LSN(0), d.lost)
	if err != nil {
		return err
	}
	if r.Kept != len(all) {
		d.broken = append(d.broken, fmt.Sprintf("%s, %s: %d of %d acknowledged commits are there", db, when, r.Kept, len(all)))
	}
	for _, b := range r.Broken[:min(3, len(r.Broken))] {
		d.broken = append(d.broken, db+", "+when+": "+b)
	}
	return nil
}

// reportBrought prints what was brought home.
func (d *demo) reportBrought() {
	b := d.home.brought
	fmt.Printf("  missing rows       %d acknowledged commits that %s had not shipped: all are there again, by %d rows that were merged in %.1f s;\n                     %d conflicts with what %s had written since were settled\n",
		b.lackedInAll(), devenv.Primary, b.merged, b.took.Seconds(), b.settled, devenv.Secondary)
}

// addBothUp decides each conflict about a balance by the sum of what both sides did to it. It returns how many there were.
func addBothUp(plan string) (edited string, n int, err error) {
	var b strings.Builder
	var base, theirs, active int
	for line := range strings.Lines(plan) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
		switch name {
		case "base":
			base, err = balanceIn(value)
		case "theirs":
			theirs, err = balanceIn(value)
		case "active":
			active, err = balanceIn(value)
		case "decide":
			n++
			line = fmt.Sprintf("    decide: theirs\n    values: {balance: %d}\n", theirs+active-base)
		}
		if err != nil {
			return "", n, err
		}
		b.WriteString(line)
	}
	return b.String(), n, nil
}

// balanceIn reads {"id": "7", "balance": "950"}.
func balanceIn(row string) (int, error) {
	_, rest, ok := strings.Cut(row, `"balance": "`)
	digits, _, closed := strings.Cut(rest, `"`)
	if !ok || !closed {
		return 0, fmt.Errorf("a conflict that is not about a balance: %s", row)
	}
	return strconv.Atoi(digits)
}
