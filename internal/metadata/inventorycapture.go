package metadata

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/smartdr/smartdr/internal/dsn"
	"github.com/smartdr/smartdr/internal/wal"
)

const opInventory = "capture inventory"

// listed is how many objects of a part are listed one by one, unless somebody says otherwise: as many as make an inventory
// of a few megabytes.
const listed = 20_000

// InventoryOptions say how much an inventory goes into detail.
type InventoryOptions struct {
	Limit int        // objects of each part that are listed one by one; those of further kinds are counted. Default 20,000
	Like  *Inventory // list what is listed there and count what is counted there, so that the two can be compared

	key []byte // to compare secrets by digests that mean nothing to anybody without it; nil: no secrets
}

// taker is one run of CaptureInventory.
type taker struct {
	conn  *pgx.Conn
	o     InventoryOptions
	notes []string
}

// CaptureInventory reads a server's inventory. The role may be any that can connect: what it may not read is named in the
// parts. A database that could not be read has no part, and the notes say why. It opens one more connection at a time,
// to each database in turn.
func CaptureInventory(ctx context.Context, conn *pgx.Conn, o InventoryOptions) (v Inventory, notes []string, err error) {
	if o.Limit <= 0 {
		o.Limit = listed
	}
	t := &taker{conn: conn, o: o}
	server, err := t.part(ctx, conn, "", serverReaders)
	if err != nil {
		return v, nil, dsn.ConnectError(opInventory, err)
	}
	v.Parts = append(v.Parts, server)
	var names []string
	err = conn.QueryRow(ctx, `select current_setting('server_version_num')::int, array(select datname::text from pg_database
		where datallowconn and not datistemplate and datconnlimit <> -2 order by 1)`).Scan(&v.ServerVersion, &names)
	if err != nil {
		return v, nil, dsn.ConnectError(opInventory, err)
	}
	for _, name := range names {
		part, err := t.database(ctx, name)
		if ctx.Err() != nil {
			return v, nil, dsn.ConnectError(opInventory, ctx.Err())
		} else if err != nil {
			t.notes = append(t.notes, fmt.Sprintf("what database %s holds could not be read: %s", name, dsn.Redact(err.Error())))
			continue
		}
		v.Parts = append(v.Parts, part)
	}
	sortParts(v.Parts)
	return v, t.notes, nil
}

func (t *taker) database(ctx context.Context, name string) (Part, error) {
	conn, done, err := inDatabase(ctx, t.conn, name)
	if err != nil {
		return Part{}, err
	}
	defer done()
	return t.part(ctx, conn, name, databaseReaders)
}

// inDatabase returns a connection to a database of the same server, by the same role and settings; conn itself if that is
// where it is.
func inDatabase(ctx context.Context, conn *pgx.Conn, name string) (_ *pgx.Conn, done func(), err error) {
	if name == conn.Config().Database {
		return conn, func() {}, nil
	}
	cfg := conn.Config()
	cfg.Database, cfg.ConnectTimeout = name, 10*time.Second
	other, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return nil, nil, err
	}
	return other, func() { _ = other.Close(context.WithoutCancel(ctx)) }, nil // whatever it did is done by then
}

// plainly makes what the server writes independent of what a role, database or operator has set.
const plainly = `set local statement_timeout = '60s'; set local lock_timeout = '10s'; set local search_path = pg_catalog; set local timezone = 'UTC';
	set local datestyle = 'ISO'; set local quote_all_identifiers = off`

// partReader reads one part, in one transaction.
type partReader struct {
	*taker
	tx    pgx.Tx
	like  *Part
	part  Part
	items map[[2]string]Item
	left  int // objects that may still be listed
}

func (t *taker) part(ctx context.Context, conn *pgx.Conn, name string, readers []reader) (Part, error) {
	r := &partReader{taker: t, part: Part{Database: name, Look: Look{Database: name, At: time.Now().UTC()}}, items: map[[2]string]Item{}, left: t.o.Limit}
	if t.o.Like != nil {
		r.like = t.o.Like.Part(name)
	}
	err := pgx.BeginTxFunc(ctx, conn, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		r.tx = tx
		if _, err := tx.Exec(ctx, plainly); err != nil {
			return err
		}
		return r.read(ctx, readers)
	})
	r.part.Items = make([]Item, 0, len(r.items))
	for _, i := range r.items {
		r.part.Items = append(r.part.Items, i)
	}
	slices.SortFunc(r.part.Items, Item.compare)
	return r.part, err
}

func (r *partReader) read(ctx context.Context, readers []reader) error {
	// The first statement takes the transaction's snapshot; the position that it returns is read after that.
	err := r.tx.QueryRow(ctx, `select case when pg_is_in_recovery() then coalesce(pg_last_wal_replay_lsn(), '0/0') else pg_current_wal_insert_lsn() end::text`).
		Scan((*lsnText)(&r.part.Look.LSN))
	if err != nil {
		return err
	}
	for _, reader := range readers {
		if reader.secret && r.o.key == nil {
			continue
		}
		if err := r.readGroup(ctx, reader); err != nil {
			return fmt.Errorf("%s: %w", reader.group, err)
		}
	}
	return nil
}

// lsnText scans an LSN that the server writes as text.
type lsnText wal.LSN

// Scan implements sql.Scanner.
func (l *lsnText) Scan(v any) error {
	text, _ := v.(string)
	lsn, err := wal.ParseLSN(text)
	*l = lsnText(lsn)
	return err
}

// readGroup lists a group, or counts it. It asks for a privilege before it reads: a refusal would be logged each time.
func (r *partReader) readGroup(ctx context.Context, reader reader) error {
	if reader.closed != "" {
		var may bool
		if err := r.tx.QueryRow(ctx, `select has_table_privilege($1::text, 'select')`, reader.closed).Scan(&may); err != nil {
			return err
		}
		if !may {
			r.part.Unseen = append(r.part.Unseen, reader.group)
			return nil
		}
	}
	if !r.mustSum(reader.group) {
		if complete, err := r.list(ctx, reader); err != nil || complete {
			return err
		}
	}
	return r.sum(ctx, reader)
}

func (r *partReader) mustSum(g Group) bool { return r.like != nil && slices.Contains(r.like.Summed, g) }

// room is how many objects of a group may be listed: what the other inventory lists is listed here too.
func (r *partReader) room(g Group) int {
	if r.like != nil && !r.mustSum(g) {
		return 2 * r.o.Limit
	}
	return r.left
}

// list reads a group one by one; false if it has more objects than may be listed.
func (r *partReader) list(ctx context.Context, reader reader) (complete bool, err error) {
	room := r.room(reader.group)
	rows, err := r.tx.Query(ctx, `select kind::text, name::text, jsonb_strip_nulls(facts) from (`+reader.query+`) q(kind, schema, name, facts) limit $1`, room+1)
	if err != nil {
		return false, err
	}
	var items []Item
	var i Item
	_, err = pgx.ForEachRow(rows, []any{&i.Kind, &i.Name, &i.Facts}, func() error {
		items = append(items, i)
		i.Facts = nil
		return nil
	})
	if err != nil || len(items) > room {
		return false, err
	}
	r.left -= len(items)
	for _, i := range items {
		r.add(reader, i)
	}
	return true, nil
}

// sum counts a group per kind and schema, with a digest over all of it that does not depend on an order.
func (r *partReader) sum(ctx context.Context, reader reader) error {
	rows, err := r.tx.Query(ctx, `select kind::text, schema::text, count(*)::text, encode(sha256(convert_to(string_agg(h, '' order by h collate "C"), 'UTF8')), 'hex')
		from (select kind, schema, encode(sha256(convert_to(name || chr(31) || jsonb_strip_nulls(facts)::text, 'UTF8')), 'hex') h
			from (`+reader.query+`) q(kind, schema, name, facts)) s group by 1, 2`)
	if err != nil {
		return err
	}
	var kind, schema, count, digest string
	_, err = pgx.ForEachRow(rows, []any{&kind, &schema, &count, &digest}, func() error {
		r.add(reader, Item{Kind: everyKind + kind, Name: identifierOrAll(schema), Facts: map[string]string{factCount: count, factDigest: digest}})
		return nil
	})
	if err == nil && !reader.secret {
		r.part.Summed = append(r.part.Summed, reader.group)
	}
	return err
}

// What is known of many objects together.
const (
	everyKind  = "every "
	factCount  = "count"
	factDigest = "digest"
)

func identifierOrAll(schema string) string {
	if schema == "" {
		return "there is"
	}
	return "in schema " + identifier(schema)
}

func (r *partReader) add(reader reader, i Item) {
	key := [2]string{i.Kind, i.Name}
	merged, found := r.items[key]
	if !found {
		merged = Item{Kind: i.Kind, Name: i.Name}
	}
	facts := r.presentable(reader, i)
	if merged.Facts == nil && len(facts) > 0 {
		merged.Facts = map[string]string{}
	}
	maps.Copy(merged.Facts, facts)
	r.items[key] = merged
}

// presentable returns facts without anything secret.
func (r *partReader) presentable(reader reader, i Item) map[string]string {
	if reader.secret {
		out := map[string]string{}
		for name, fact := range i.Facts {
			out[secretFact+name] = r.keyed(fact)
		}
		return out
	}
	if i.Kind == kindSetting {
		if name := i.Facts["name"]; strings.Contains(name, ".") || isSecret(name, i.Facts["value"]) {
			delete(i.Facts, "value")
		}
		delete(i.Facts, "name")
	}
	return i.Facts
}

// secretFact comes before the names of facts that are digests of secrets.
const secretFact = "secret "

func (r *partReader) keyed(secret string) string {
	h := hmac.New(sha256.New, r.o.key)
	h.Write([]byte(secret))
	return hex.EncodeToString(h.Sum(nil))
}
