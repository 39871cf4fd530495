package cli

import (
	"context"
	"fmt"
	"sync/atomic"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"github.com/smartdr/smartdr/internal/cli/render"
	"github.com/smartdr/smartdr/internal/topology"
)

// barParts is how finely a bar is divided.
const barParts = 1000

// bars are progress bars by name, for terminals. Each shows a text that may change.
type bars struct {
	progress *mpb.Progress
	by       map[string]*textBar
}

type textBar struct {
	*mpb.Bar
	text atomic.Pointer[string]
}

func newBars(ctx context.Context, a *app) *bars {
	p := mpb.NewWithContext(ctx, mpb.WithOutput(a.Out), mpb.WithWidth(30), mpb.WithAutoRefresh())
	return &bars{progress: p, by: map[string]*textBar{}}
}

// set shows a bar at percent with a text; a negative percent means that nobody knows, and a spinner is shown.
func (b *bars) set(name string, percent float64, text string) {
	bar, ok := b.by[name]
	if !ok {
		bar = b.add(name, percent < 0, text)
		b.by[name] = bar
	}
	bar.text.Store(&text)
	bar.SetCurrent(int64(max(percent, 0) * barParts / 100))
}

func (b *bars) add(name string, spin bool, text string) *textBar {
	bar := &textBar{}
	bar.text.Store(&text)
	show := decor.Any(func(decor.Statistics) string { return *bar.text.Load() })
	options := []mpb.BarOption{
		mpb.PrependDecorators(decor.Name(name, decor.WCSyncSpaceR)), mpb.AppendDecorators(show), mpb.BarRemoveOnComplete(),
	}
	filler := mpb.BarStyle().Lbound(" ").Filler("█").Tip("█").Padding("░").Rbound(" ").Build()
	if spin {
		filler = mpb.SpinnerStyle().Build()
	}
	bar.Bar = b.progress.MustAdd(0, filler, options...)
	bar.SetTotal(barParts, false)
	return bar
}

// end takes a bar away.
func (b *bars) end(name string) {
	if bar, ok := b.by[name]; ok {
		bar.Abort(true)
		delete(b.by, name)
	}
}

// println writes a line above the bars.
func (b *bars) println(line string) {
	_, _ = b.progress.Write([]byte(line + "\n")) // fails only once the bars have ended
}

// close leaves the bars as they stand, or takes them away.
func (b *bars) close(leave bool) {
	for _, bar := range b.by {
		bar.Abort(!leave)
	}
	b.progress.Wait()
}

// barView shows a bar for each database.
type barView struct {
	app  *app
	bars *bars
	said string
}

func newBarView(ctx context.Context, a *app) *barView {
	// The bars outlive ctx, so that their last state is drawn.
	return &barView{app: a, bars: newBars(context.WithoutCancel(ctx), a)}
}

func (v *barView) show(s topology.GroupStatus) {
	for _, w := range s.Workspaces {
		for _, d := range w.Databases {
			v.bars.set(w.Workspace+"/"+d.Database, d.Percent, render.DatabaseNow(d, v.app.now(), v.app.style()))
		}
	}
	v.said = ""
}

func (v *barView) say(problem string) {
	if v.said != problem {
		v.bars.println(problem)
	}
	v.said = problem
}

func (v *barView) close() { v.bars.close(true) }

// phaseBars shows a spinner for each phase under way and a line for each that has ended.
type phaseBars struct {
	app  *app
	bars *bars
	done map[string]bool
}

func (v *phaseBars) show(op topology.Operation) {
	for i, p := range op.Phases {
		name := fmt.Sprint(p.Name, " ", p.Workspace)
		key := fmt.Sprint(i, name)
		switch {
		case v.done[key]:
		case p.EndedAt.IsZero():
			v.bars.set(name, -1, render.PhaseNow(p, v.app.now()))
		default:
			v.bars.end(name)
			v.bars.println(render.Phase(p, v.app.now(), v.app.style()))
			v.done[key] = true
		}
	}
}

func (v *phaseBars) close() { v.bars.close(false) }
