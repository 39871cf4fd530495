package fence

import (
	"context"
)

// currentMark returns the mark as it is in the file; nil when there is no fence.
func (s *session) currentMark(ctx context.Context) (*mark, error) {
	own, err := s.ownSettings(ctx)
	if err != nil {
		return nil, err
	}
	return readMark(own)
}

// inForce compares what is on the server with what a fence puts there.
func (s *session) inForce(ctx context.Context, o Options) (bool, error) {
	rules, err := s.readFile(ctx, s.hbaFile)
	if err != nil && codeOf(err) == "" {
		return false, failed("check fence", err)
	}
	if s.noSettings {
		return fencedRules(rules), nil
	}
	own, err := s.ownSettings(ctx)
	if err != nil {
		return false, err
	}
	m, err := readMark(own)
	if err != nil || m == nil || m.Lineage != o.Lineage.ID || o.By != "" && m.By != o.By {
		return false, err
	}
	for _, want := range settings(o.ForGood) {
		if own[want.name] != want.value {
			return false, nil
		}
	}
	var loaded bool
	var in int
	// The last setting cannot take effect where the server was started with another value: there the mark tells.
	err = s.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_settings WHERE name = 'wal_retrieve_retry_interval' AND (setting = $1 OR source = 'command line'))
			AND coalesce(current_setting($2, true), '') = $3,
		(SELECT count(*) FROM pg_stat_activity WHERE `+unadmitted+` AND backend_start < now() - interval '1 second')`, never, markSetting, own[markSetting]).Scan(&loaded, &in)
	if err != nil {
		return false, failed("check fence", err)
	}
	return loaded && in == 0 && (m.NoRules || fencedRules(rules)), nil
}

// widenRules puts the former access rules back, if a fence for by replaced them. What somebody else has written since stays.
func (s *session) widenRules(ctx context.Context, by string) (changed bool, err error) {
	now, err := s.readFile(ctx, s.hbaFile)
	if err != nil || !fencedRules(now) || rulesBy(now) != oneLine(by) {
		if codeOf(err) == noPrivilege {
			err = nil // it could not be written either
		}
		return false, failed("restore access rules", err)
	}
	original, err := originalRules(now)
	if err != nil {
		return false, err
	}
	if err := s.writeFile(ctx, s.hbaFile, original); err != nil {
		return false, failed("restore access rules", err)
	}
	return true, nil
}

// lift puts back what was there before. The mark goes last, so that a lift that was cut short is gone on with.
func (s *session) lift(ctx context.Context, o Options) (note string, err error) {
	own, err := s.ownSettings(ctx)
	if err != nil {
		return "", err
	}
	m, err := readMark(own)
	if err != nil {
		return "", err
	}
	if m != nil && m.By != o.By || m == nil && !s.noSettings {
		return "", nil
	}
	changed, err := s.widenRules(ctx, o.By)
	if err != nil {
		return "", err
	}
	if m == nil {
		if changed {
			_, err = s.reload(ctx)
		}
		return "", err
	}
	if err := s.putBack(ctx, own, *m); err != nil {
		return "", err
	}
	if _, err := s.reload(ctx); err != nil {
		return "", err
	}
	if err := s.alter(ctx, markSetting, nil); err != nil {
		return "", err
	}
	if _, err := s.reload(ctx); err != nil {
		return "", err
	}
	return s.waiting(ctx)
}

// putBack gives settings their former values. One that somebody has changed since is theirs.
func (s *session) putBack(ctx context.Context, own map[string]string, m mark) error {
	for _, was := range settings(true) {
		now, set := own[was.name]
		before, known := m.Before[was.name]
		if !known || !set || now != was.value {
			continue
		}
		if before != nil && *before == now {
			continue
		}
		if err := s.alter(ctx, was.name, before); err != nil {
			return err
		}
	}
	return nil
}

// waiting says what takes effect with the next restart alone: the server was restarted while it was fenced.
func (s *session) waiting(ctx context.Context) (note string, err error) {
	var pending bool
	err = s.QueryRow(ctx, `SELECT pending_restart FROM pg_settings WHERE name = 'max_logical_replication_workers'`).Scan(&pending)
	if err != nil {
		return "", failed("lift fence", err)
	}
	if pending {
		return "subscriptions run again after a restart: the server was started while it was fenced", nil
	}
	return "", nil
}
