package workflows

import (
	"time"

	"go.temporal.io/sdk/workflow"
)

// The policies of branches, of looks at the past, and of what is kept; see policies.go.

// attachingOn is for bringing up a branch's server, which takes as long as a big database takes. What may pass is tried again until somebody
// cancels it. A host on which nobody takes it up for two minutes, longer than a worker needs to be started again, ends it. Who cancels waits for the
// step's end: what it made is removed then.
func attachingOn(ctx workflow.Context, queue, summary string) workflow.Context {
	return workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		TaskQueue:              queue,
		Summary:                summary,
		ScheduleToStartTimeout: 2 * time.Minute,
		HeartbeatTimeout:       urgent,
		StartToCloseTimeout:    7 * 24 * time.Hour,
		WaitForCancellation:    true,
		RetryPolicy:            retry(200*time.Millisecond, 10*time.Second, 0),
	})
}

// drainingOn is for bringing the last of a branch's WAL to a bucket that may be away: for as long as that takes, unless somebody
// gives it up.
func drainingOn(ctx workflow.Context, queue, summary string) workflow.Context {
	return workflow.WithWaitForCancellation(attachingOn(ctx, queue, summary), false)
}

// locating is for finding a point in a bucket, for which all the WAL of a window may have to be read. A region without workers is known soon,
// so that another one is asked.
func locating(ctx workflow.Context, queue, summary string) workflow.Context {
	return workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		TaskQueue:              queue,
		Summary:                summary,
		ScheduleToStartTimeout: 20 * time.Second,
		HeartbeatTimeout:       heartbeat,
		StartToCloseTimeout:    time.Hour,
		RetryPolicy:            retry(askFirst, askMost, askTries),
	})
}

// The rhythm of retention.
const (
	// sweepEvery is how often a region's bucket is looked through: what it frees has lain there for days.
	sweepEvery = time.Hour
	// graceByDefault is how long something stays that nothing refers to, in minutes: somebody may be about to.
	graceByDefault = 60
)

// sweeping is for removing what nothing needs from a bucket, which takes as long as reading all its manifests and indexes. What may pass is tried
// again twice, since somebody may wait for it; after that the next round goes on.
func sweeping(ctx workflow.Context, region string) workflow.Context {
	return workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		TaskQueue:              TaskQueue, // every worker reaches every bucket, and a region may have no worker
		Summary:                "remove from the bucket of " + region + " what nothing needs",
		ScheduleToStartTimeout: time.Minute,
		HeartbeatTimeout:       heartbeat,
		StartToCloseTimeout:    12 * time.Hour,
		RetryPolicy:            retry(2*time.Second, 10*time.Second, 3),
	})
}

// verifying is for a check of a bucket, which may read all of it, and goes on from where a worker died. A bucket that is away is tried again for some minutes:
// reading terabytes is not given up because of a moment.
func verifying(ctx workflow.Context, region string) workflow.Context {
	return workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		TaskQueue:              TaskQueue, // every worker reaches every bucket, and a region may have no worker
		Summary:                "check the bucket of " + region,
		ScheduleToStartTimeout: time.Minute,
		HeartbeatTimeout:       heartbeat,
		StartToCloseTimeout:    7 * 24 * time.Hour,
		RetryPolicy:            retry(5*time.Second, time.Minute, 6),
	})
}

// takingNow is for a snapshot that somebody waits for.
func takingNow(ctx workflow.Context, queue, summary string) workflow.Context {
	return workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		TaskQueue:              queue,
		Summary:                summary,
		ScheduleToStartTimeout: 2 * time.Minute,
		HeartbeatTimeout:       heartbeat,
		StartToCloseTimeout:    7 * 24 * time.Hour,
		RetryPolicy:            retry(time.Second, 15*time.Second, 5),
	})
}
