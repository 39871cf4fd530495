// Package activities does what the workflows order. There is one struct per place: Control for what any region can
// do, Source for what must happen beside the server that is replicated, Target for what must happen where a group is
// brought up. Each method converts, calls one room below, reports that it is alive, and judges the error once
// (see judge): nothing above this package sees a driver's or a cloud's type.
//
// Every activity finds out from the catalog and the buckets what is left to do, so that it may be killed at any time
// and run again, by this worker or another one, under a Temporal that has never seen the group.
package activities
