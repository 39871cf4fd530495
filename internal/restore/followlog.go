package restore

import (
	"os"
	"time"

	"github.com/smartdr/smartdr/internal/fault"
)

// keepLog is how long a standby's log may become, in bytes, and lookAtLog how often it is measured: the server says ten times a
// second that it waits for WAL. Tests are content with less.
var (
	keepLog   int64 = 4 << 20
	lookAtLog       = 10 * time.Second
)

// trimLog empties a log that has become long, once what it tells of damaged pages was judged. Of a server that takes connections
// nothing else in it is needed.
func (f *follow) trimLog() error {
	if time.Since(f.logSeen) < lookAtLog {
		return nil
	}
	f.logSeen = time.Now()
	before, err := os.Stat(f.Server.LogFile)
	if err != nil || before.Size() < keepLog {
		return nil //nolint:nilerr // there is none yet
	}
	if err := f.server.checkPages(); err != nil {
		return err
	}
	if now, err := os.Stat(f.Server.LogFile); err != nil || now.Size() != before.Size() {
		f.logSeen = time.Time{} // something was said meanwhile
		return nil              //nolint:nilerr // it is looked at again at once
	}
	f.Log.Debug("the standby's log was emptied", "bytes", before.Size())
	if err := os.Truncate(f.Server.LogFile, 0); err != nil {
		return fault.New(fault.Transient, "trim log", err)
	}
	return nil
}
