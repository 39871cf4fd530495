// Package missing finds the rows that a server which was left behind by a failover committed and the one that serves lacks, and brings them home.
//
// Three states of a database are compared. The fork is where the two lines part: the server as it was at the end of what the new one replayed. The
// tip is the end of what is known of the old line. The active database is what serves. What committed between fork and tip is found in the old
// line's WAL, by place: each row version that a committed transaction inserted or removed has its block and offset in one of five heap
// records. So the cost hangs on what changed and not on how much there is. A scan begins before the fork where a transaction was open there.
//
// Scan reads the WAL (Changes). ReadFork and ReadTip read a copy of the old server, first at the fork and then, moved on, at the tip, and write a Set
// for each database. Merge compares a Set with the active database, and merges.
package missing
