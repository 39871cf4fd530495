package restore

import (
	"context"
	"log/slog"
	"time"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/postgres"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/wal"
)

const opFollow = "follow"

// FollowInput says which restored data directory is to follow which lineages.
type FollowInput struct {
	ID          string // of the standby, for Progress
	Server      *postgres.Server
	Superuser   string // a role of the restored cluster; replaces Server.Superuser
	SegmentSize wal.SegmentSize
	// Legs are the way from the snapshot on, oldest lineage first; the last one is open (To is 0) as long as its server writes.
	// A later call may have more of them, and give the one that was open an end, which must not lie before what was replayed.
	Legs             []Leg
	ReplayFrom       wal.LSN           // where recovery begins: the snapshot's start
	OmittedDatabases []uint32          // OIDs of databases that were restored as zeros
	Overrides        map[string]string // settings for this place, as in AttachInput

	// Target, if there is one, is where to stop: nothing behind the last record that ends at or before it is replayed.
	Target *wal.Position
	// AtLeast takes a server that was fed beyond Target already as having reached it; otherwise that is fault.Diverged.
	AtLeast bool
	// LagBelow ends the call once replay is nearer than that to the end of what the bucket has; 0: never.
	LagBelow time.Duration
	// Turn ends the call, without an error, when it has passed; 0: never.
	Turn time.Duration

	Poll     time.Duration // how often to look for new objects while they come; default 200 ms, up to five times as long while none do
	Parallel int           // objects fetched at a time; default 4
	Progress func(topology.StandbyProgress)
	Log      *slog.Logger
}

// Followed is how far a standby is.
type Followed struct {
	FetchedWAL         // what Attach wants to know, of all that was fed since the snapshot
	Replayed   wal.LSN `json:"replayed"` // 0 while the server does not say
	Reached    bool    `json:"reached"`  // Target, or LagBelow
}

// Follow keeps a data directory that Files has restored replaying: it brings the WAL of its lineages from the bucket as it gets
// there, and runs the server as a standby that takes no clients. Every byte is verified before the server can see it: the
// objects' digests, their chain, and the records' CRC.
//
// It ends when Target is replayed, when the lag is small enough, when the turn is over, or with ctx; the server runs on. It may
// be killed at any moment, and so may the server, and called again; a second call beside it, or beside Attach, is turned away. Attach
// with the plan {End.Timeline, RecordEnd} of what it returned promotes that server; after that it follows no more.
//
// Errors: fault.Missing for a hole in the bucket, naming it; fault.Corrupt for damage; fault.Diverged when the lineages do not
// continue what the server has replayed, or it is beyond Target; fault.Conflict when an attach has begun in the folder;
// fault.Full; fault.Invalid when the server refuses to start.
func Follow(ctx context.Context, in FollowInput) (Followed, error) {
	f, err := newFollow(in)
	if err != nil {
		return Followed{}, err
	}
	unlock, err := f.server.lock(opFollow)
	if err != nil {
		return Followed{}, err
	}
	defer unlock()
	turn, cancel := ctx, context.CancelFunc(func() {})
	if in.Turn > 0 {
		turn, cancel = context.WithTimeout(ctx, in.Turn)
	}
	defer cancel()
	reached, err := f.run(turn)
	if err != nil && turn.Err() != nil && ctx.Err() == nil {
		err = nil // what failed did so because the turn was over, or will say so in the next one
	}
	return f.followed(reached), interrupted(ctx, opFollow, err)
}

func newFollow(in FollowInput) (*follow, error) {
	if in.Log == nil {
		in.Log = slog.New(slog.DiscardHandler)
	}
	if in.Poll <= 0 {
		in.Poll = 200 * time.Millisecond
	}
	f := &follow{FollowInput: in, poll: in.Poll, written: map[wal.Timeline]bool{}, base: in.Server.Settings}
	f.server = &attach{stateFile: followFile, AttachInput: AttachInput{
		Server: in.Server, Superuser: in.Superuser, Overrides: in.Overrides, OmittedDatabases: in.OmittedDatabases,
		ReplayFrom: in.ReplayFrom, Log: in.Log,
	}}
	f.fetch = newFetch(FetchWAL{Legs: in.Legs, Dir: f.server.walPath(""), SegmentSize: in.SegmentSize, Parallel: in.Parallel, Log: in.Log})
	f.histories = make([]map[wal.Timeline][]byte, len(in.Legs))
	f.writer = &walWriter{f: f.fetch, grow: &grow{before: f.before, added: f.added, own: in.Server.Own}}
	if in.Target != nil {
		if in.Target.Timeline == 0 || in.Target.LSN == 0 {
			return nil, fault.Newf(fault.Invalid, opFollow, "the target names no place: %s", *in.Target)
		}
		f.writer.grow.limit = in.Target.LSN
	}
	return f, f.fetch.check()
}

// follow is one call of Follow.
type follow struct {
	FollowInput
	server *attach // that replays; its plan's end is not known yet
	fetch  *fetch
	writer *walWriter

	// Of what comes from the bucket.
	histories []map[wal.Timeline][]byte // by leg
	written   map[wal.Timeline]bool     // history files
	pending   []piece                   // listed and not written yet
	tip       bool                      // the last list went to the end of the last leg
	listAt    time.Time                 // when to look for more
	poll      time.Duration
	idle      int       // lists that found nothing, one after the other
	whole     bool      // the next list is to be of the whole lineage
	holeSeen  time.Time // since when there is something behind a hole; zero: there is none
	merged    int       // objects that were gone when they were read, one after the other

	// Of the server.
	base     map[string]string // settings that the caller described it with
	minimums wal.Parameters    // that its pg_control names
	runs     map[string]string // settings that it was started with; nil: not known
	launched bool              // in this call, or found running
	failures int               // ends of it since replayed last changed
	fed      []object          // not replayed yet
	replayed wal.LSN
	caughtUp bool      // once
	stuck    time.Time // since when the server waits for WAL that is there; zero while it does not
	told     time.Time
	logSeen  time.Time // when the log's length was measured
}

// object is one that is to be replayed.
type object struct {
	end     wal.LSN
	seen    time.Time // when it was listed, by our clock
	created time.Time // by its shipper's; zero until it was read
}

// run feeds and watches until the call has reached what it is for.
func (f *follow) run(ctx context.Context) (reached bool, err error) {
	if err := f.open(ctx); err != nil {
		return false, err
	}
	defer f.close()
	for {
		if err := f.feed(ctx); err != nil {
			return false, err
		}
		if err := f.serve(ctx); err != nil {
			return false, err
		}
		if reached, err = f.watch(ctx); reached || err != nil {
			return reached, err
		}
		if err := f.rest(ctx); err != nil {
			return false, fault.New(fault.Transient, opFollow, err)
		}
	}
}

// followed says where the call stands.
func (f *follow) followed(reached bool) Followed {
	out := f.fetch.out
	if f.writer.leg >= 0 {
		out.End = wal.Position{Timeline: f.timeline(), LSN: f.writer.at}
	}
	return Followed{out, f.replayed, reached}
}

func (f *follow) close() {
	f.writer.close()
	f.server.disconnect()
}

// rest waits until there is something to do: soon while the server replays, later when all that the bucket has is there.
func (f *follow) rest(ctx context.Context) error {
	if len(f.pending) > 0 {
		return ctx.Err()
	}
	wait := time.Until(f.listAt)
	if len(f.fed) > 0 || f.complete() {
		wait = min(wait, lookEvery)
	}
	return pause(ctx, max(wait, time.Millisecond))
}
