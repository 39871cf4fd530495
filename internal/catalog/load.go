package catalog

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/objectstore"
	"github.com/smartdr/smartdr/internal/topology"
)

// document is a group's document as one bucket has it.
type document struct {
	group topology.Group
	raw   []byte
	etag  string // set even if the document could not be read
}

// survey is what all buckets say of a group.
type survey struct {
	Loaded
	newest  document
	replies map[string]reply[document]
}

// Load reads a group: its highest revision among the buckets that answer. Errors: fault.Missing when every bucket
// answered and none has it; fault.Transient (with ErrUnseen) when one might; fault.Corrupt when what is there is damaged;
// fault.Diverged when buckets hold different groups of that name; fault.Invalid when a newer version wrote it.
func (c *Catalog) Load(ctx context.Context, group string) (Loaded, error) {
	s, err := c.survey(ctx, group)
	if err != nil {
		return Loaded{}, err
	}
	return s.Loaded, nil
}

// survey asks the group's regions, if they are known, or all: a group may have got another region meanwhile.
func (c *Catalog) survey(ctx context.Context, group string) (survey, error) {
	if err := checkNames(group); err != nil {
		return survey{}, err
	}
	if regions, fresh := c.knownRegions(group); fresh {
		s, err := c.surveyOf(ctx, group, regions)
		if err == nil && !slices.ContainsFunc(groupRegions(&s.Group), func(r string) bool { return !slices.Contains(regions, r) }) {
			return s, nil
		}
	}
	return c.surveyOf(ctx, group, c.regions())
}

func (c *Catalog) surveyOf(ctx context.Context, group string, regions []string) (survey, error) {
	replies := ask(ctx, c, regions, func(ctx context.Context, _ string, s objectstore.Store) (document, error) {
		return readGroup(ctx, s, group)
	})
	s, err := newSurvey(group, replies)
	if err != nil {
		return survey{}, err
	}
	c.rememberRegions(&s.Group)
	return s, nil
}

func readGroup(ctx context.Context, s objectstore.Store, group string) (document, error) {
	key := groupKey(group)
	b, info, err := s.Get(ctx, key)
	if err != nil {
		return document{}, err
	}
	d := document{raw: b, etag: info.ETag}
	if err := decode(key, b, &d.group); err != nil {
		return d, err
	}
	if d.group.Name != group || d.group.Revision < 1 || d.group.ID == "" {
		return d, fault.Newf(fault.Corrupt, "read "+key, "it names group %q, revision %d", d.group.Name, d.group.Revision).WithHint(corruptHint)
	}
	if err := d.group.Validate(); err != nil {
		return d, fault.Newf(fault.Corrupt, "read "+key, "what it says cannot be: %w", err).WithHint(corruptHint)
	}
	return d, nil
}

// newSurvey finds the newest document among replies.
func newSurvey(group string, replies map[string]reply[document]) (survey, error) {
	s := survey{replies: replies, Loaded: Loaded{Silent: map[string]string{}}}
	var found []document
	for _, region := range slices.Sorted(maps.Keys(replies)) {
		r := replies[region]
		switch {
		case errors.Is(r.err, errFormat):
			return survey{}, r.err
		case r.err == nil:
			found = append(found, r.value)
			s.From = append(s.From, region)
		case fault.Is(r.err, fault.Missing):
			s.From = append(s.From, region)
		default:
			s.Silent[region] = r.err.Error()
		}
	}
	if len(found) == 0 {
		return survey{}, notFound(group, s.Loaded, replies)
	}
	newest, err := newestOf(found)
	s.newest, s.Group = newest, newest.group
	return s, err
}

func newestOf(found []document) (document, error) {
	newest := found[0]
	for _, d := range found[1:] {
		op := "read group " + d.group.Name
		if d.group.ID != newest.group.ID {
			return document{}, fault.Newf(fault.Diverged, op, "two buckets hold different groups of that name, %s and %s", newest.group.ID, d.group.ID).
				WithHint("Use a bucket or a prefix of its own for each installation, and another name for one of the groups.")
		}
		if d.group.Revision == newest.group.Revision && !bytes.Equal(d.raw, newest.raw) {
			return document{}, fault.Newf(fault.Diverged, op, "two buckets hold different documents of revision %d", d.group.Revision).
				WithHint("One was restored or written by hand: delete groups/%s/group.json in the bucket that is wrong, and it is copied again.", d.group.Name)
		}
		if seizedApart(&d.group, &newest.group) {
			return document{}, fault.Newf(fault.Diverged, op, "one bucket was made to decide over it without the other one, which has gone on since: what each side decided cannot be merged").
				WithHint("Find out which side serves, stop the other one, and delete groups/%s/group.json in the bucket of the side that is given up: it is copied again. What that side wrote stays in its own lineages.", d.group.Name)
		}
		if d.group.Revision > newest.group.Revision {
			newest = d
		}
	}
	return newest, nil
}

// seizedApart reports whether one document decides by a seizure, and the other has changed since without knowing of it.
func seizedApart(a, b *topology.Group) bool {
	if a.Revision < b.Revision {
		a, b = b, a
	}
	knows := b.Seized != nil && a.Seized != nil && b.Seized.At.Equal(a.Seized.At)
	return a.Seized != nil && !knows && b.Revision > a.Seized.Revision
}

func notFound(group string, l Loaded, replies map[string]reply[document]) error {
	op := "read group " + group
	if err := refused(fault.Corrupt, replies); err != nil {
		return err
	}
	if len(l.Silent) == 0 {
		return fault.Newf(fault.Missing, op, "there is no workspace group of that name").
			WithHint("Looked in the buckets of: %s. Create it first, or check the name.", strings.Join(l.From, ", "))
	}
	if len(l.From) == 0 {
		return noneAnswers(op, l.Silent, replies)
	}
	return fault.Newf(fault.Transient, op, "%w: %s", ErrUnseen, reasons(l.Silent)).
		WithHint("Looked in the buckets of: %s. If the group was never replicated there, what is known of it is in the bucket that does not answer.", strings.Join(l.From, ", "))
}

// noneAnswers is fault.Invalid when waiting cannot help: every bucket needs somebody.
func noneAnswers(op string, silent map[string]string, replies map[string]reply[document]) error {
	kind, hint := fault.Invalid, ""
	for _, r := range replies {
		if !fault.Is(r.err, fault.Invalid) {
			kind = fault.Transient
		}
		hint = max(hint, fault.HintOf(r.err))
	}
	return fault.Newf(kind, op, "no bucket can be read: %s", reasons(silent)).WithHint("%s", hint)
}

// Groups returns the names of all groups in the buckets that answer, sorted, and why others did not. It costs a list request
// per group and bucket.
func (c *Catalog) Groups(ctx context.Context) (names []string, silent map[string]string, err error) {
	replies := ask(ctx, c, c.regions(), func(ctx context.Context, _ string, s objectstore.Store) ([]string, error) {
		return listGroups(ctx, s)
	})
	silent = map[string]string{}
	for region, r := range replies {
		if r.err != nil {
			silent[region] = r.err.Error()
		}
		names = append(names, r.value...)
	}
	if len(silent) == len(replies) {
		return nil, silent, fault.Newf(fault.Transient, "list groups", "no bucket can be read: %s", reasons(silent))
	}
	slices.Sort(names)
	return slices.Compact(names), silent, nil
}

// listGroups hops from group to group: a list from behind a group's last key begins with the next group.
func listGroups(ctx context.Context, s objectstore.Store) ([]string, error) {
	var names []string
	for after := ""; ; {
		key, err := firstKey(ctx, s, groupsPrefix, after)
		if err != nil || key == "" {
			return names, err
		}
		name, _, _ := strings.Cut(strings.TrimPrefix(key, groupsPrefix), "/")
		names = append(names, name)
		after = groupsPrefix + name + "0" // '0' is the byte after '/'
	}
}

func firstKey(ctx context.Context, s objectstore.Store, prefix, after string) (string, error) {
	for info, err := range s.List(ctx, prefix, after) {
		return info.Key, err
	}
	return "", nil
}
