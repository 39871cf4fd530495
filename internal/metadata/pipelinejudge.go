package metadata

import (
	"fmt"
	"strings"

	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/wal"
)

// Verdict says whether a subscription may run on a restored server.
type Verdict struct {
	Database string `json:"database"`
	Name     string `json:"name"`
	Run      bool   `json:"run"`
	Note     string `json:"note"` // from where it runs, or why it does not and what to do
}

// standing is where a subscription stands on a restored server, and at its publisher.
type standing struct {
	Subscription
	// sure is the position in the publisher's WAL up to which nothing is missing here: that of the last transaction that was
	// applied, or a later one up to which there was nothing to apply.
	sure      wal.LSN
	unstable  []string // tables that were between their first copy and the stream
	publisher publisher
}

// sureOf returns the position up to which nothing of a subscription is missing on a server that was restored to recovered.
// What the primary had applied when it was looked at is all here if its own WAL of that moment is, which another timeline does
// not show. It is further than the last transaction wherever the publisher writes what is not for this subscription.
func sureOf(s Subscription, captured Pipelines, recovered wal.Position) wal.LSN {
	sure := max(s.Remote, topology.AppliedBy(captured.Applied, s.Database, s.Name, s.Slot, recovered))
	seen := captured.Subscription(s.Database, s.Name)
	here := captured.Known != 0 && captured.Timeline == recovered.Timeline && captured.Known <= recovered.LSN
	if seen == nil || !here || seen.Slot != s.Slot {
		return sure
	}
	return max(sure, seen.Applied)
}

// judge lets a subscription run only when it goes on exactly where this server stands. In every other case the publisher
// would go on where its slot is, nobody would see what is missing in between, and what follows would hide it: a stopped
// pipeline is the lesser evil.
func (s standing) judge() Verdict {
	v := Verdict{Database: s.Database, Name: s.Name}
	var why, todo string
	switch p := s.publisher; {
	case p.why != "":
		why = p.why + ": whether it confirmed more than is here is not known"
		todo = fmt.Sprintf("Ask it: SELECT active, confirmed_flush_lsn FROM pg_replication_slots WHERE slot_name = %s. If nobody uses the slot and that is at most %s, nothing is missing: %s Else %s",
			literal(s.Slot), s.sure, s.enable(), s.copyAnew())
	case !p.found:
		why = fmt.Sprintf("its publisher has no slot %s any more, and what was to come through it is not known", s.Slot)
		todo = "Make one and " + s.copyAnew()
	case p.lost:
		why = fmt.Sprintf("the publisher has removed WAL that its slot %s still needed", s.Slot)
		todo = "Drop the slot, make it again, and " + s.copyAnew()
	case p.active:
		why = fmt.Sprintf("its slot %s is in use: the old primary still lives and reads from it", s.Slot)
		todo = fmt.Sprintf("When that has ended, and confirmed_flush_lsn of the slot is at most %s: %s Else %s", s.sure, s.enable(), s.copyAnew())
	case p.at < s.Remote:
		why = fmt.Sprintf("its publisher is at %s, and %s of it is here already: the publisher was set back", p.at, s.Remote)
		todo = s.copyAnew()
	case len(s.unstable) > 0:
		why = fmt.Sprintf("%s had been copied and not yet joined the stream", strings.Join(s.unstable, ", "))
		todo = s.copyAnew()
	case p.confirmed > s.sure:
		why = fmt.Sprintf("the old primary has confirmed everything up to %s of the publisher's WAL, and what is certainly here ends at %s: changes between the two may be missing", p.confirmed, s.sure)
		todo = fmt.Sprintf("To go on without them: %s Or %s", s.enable(), s.copyAnew())
	default:
		v.Run = true
		v.Note = fmt.Sprintf("subscription %s of database %s runs again: everything up to %s of its publisher's WAL is here, and its slot %s goes on from %s; nothing is missing, and nothing comes twice",
			s.Name, s.Database, s.sure, s.Slot, p.confirmed)
		return v
	}
	v.Note = fmt.Sprintf("needs attention: subscription %s of database %s is disabled: %s. %s", s.Name, s.Database, why, capital(todo))
	return v
}

func capital(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

func (s standing) enable() string {
	return fmt.Sprintf("in database %s, ALTER SUBSCRIPTION %s ENABLE;", s.Database, identifier(s.Name))
}

// copyAnew is the way to copy a subscription's tables anew that needs no password: an empty publication takes them out, and
// the real ones bring them in again. The slot goes past the empty publication's making first, since a publication can't
// be used for changes that are older than itself.
func (s standing) copyAnew() string {
	var publications []string
	for _, p := range s.Publications {
		publications = append(publications, identifier(p))
	}
	slot := fmt.Sprintf("SELECT pg_replication_slot_advance(%s, pg_current_wal_lsn());", literal(s.Slot))
	if !s.publisher.found || s.publisher.lost {
		slot = fmt.Sprintf("SELECT pg_create_logical_replication_slot(%s, 'pgoutput', false, %t);", literal(s.Slot), s.TwoPhase)
	}
	name := identifier(s.Name)
	return fmt.Sprintf("copy its tables anew: on the publisher, CREATE PUBLICATION smartdr_none; %s here, in database %s, "+
		"ALTER SUBSCRIPTION %s SET PUBLICATION smartdr_none WITH (refresh = false); ALTER SUBSCRIPTION %s ENABLE; ALTER SUBSCRIPTION %s REFRESH PUBLICATION; "+
		"TRUNCATE %s; ALTER SUBSCRIPTION %s SET PUBLICATION %s;",
		slot, s.Database, name, name, name, tableList(s.Tables), name, strings.Join(publications, ", "))
}

func tableList(tables []string) string {
	if len(tables) == 0 || len(tables) > 20 {
		return "its tables"
	}
	return strings.Join(tables, ", ")
}

func literal(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }
