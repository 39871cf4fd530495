package workflows

import (
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/smartdr/smartdr/internal/fault"
)

// Every timeout and every retry policy stands here, each with its reason; those of branches and of what is kept are in policies_branches.go.
const (
	// turn is how long ShipSegments streams before it reports: long, so that a day of shipping costs 300 events.
	turn = 30 * time.Minute
	// observeEvery is how old a status that a query returns may be.
	observeEvery = 30 * time.Second
	// observeSoon is observeEvery while a group has been unprotected for less than unprotectedLately: what is shipped again within
	// seconds shall protect again within seconds, and what takes longer must not fill the history.
	observeSoon, unprotectedLately = 5 * time.Second, 5 * time.Minute
	// readinessEvery is how old the answer to "would a failover work now" may be. A check costs a dozen requests for each
	// workspace and one for each thousand of its segments.
	readinessEvery = 5 * time.Minute
	// readinessAgain is readinessEvery while something is in the way, as the first snapshot: whoever puts it right looks.
	readinessAgain = time.Minute
	// replicationRun is how long one run of Replication lasts: about 700 events.
	replicationRun = 30 * time.Minute
	// recheckChildren is how often a child that an earlier run started is asked for by starting it again.
	recheckChildren = 5 * time.Minute
	// standstillPause is how long to wait before trying again what needs somebody: a wrong password that was put right
	// is noticed within a minute, and a wrong one does not fill the server's log.
	standstillPause = time.Minute
	// recordEvery is how often a running operation says in the catalog that it is still running. An operation that
	// has said nothing for 90 s may be taken over (topology.AbandonedAfter).
	recordEvery = 30 * time.Second
	// workspaceRun is how many turns one run of WorkspaceReplication lasts: two days, about 2,100 events.
	workspaceRun = 96
)

const (
	// heartbeat is how soon the death of a worker that ships is noticed. Workers send one every 2 s; a host that is too
	// busy for that ships badly enough already, and a second shipper would make it worse.
	heartbeat = 15 * time.Second
	// urgent is heartbeat for what somebody waits for: in a failover it is a part of the recovery time. A worker that is
	// given up too early costs a repetition, which is harmless.
	urgent = 8 * time.Second
)

// BucketRest is the longest rest that a worker gives a bucket which did not answer, before it asks that again.
const BucketRest = 15 * time.Second

const askFirst, askMost = 500 * time.Millisecond, 10 * time.Second

// askTries outlast BucketRest: a bucket that has come back is found by the last of them.
var askTries = triesBeyond(askFirst, askMost, BucketRest)

// triesBeyond returns how many attempts it takes, with the pauses of retry, until the last one begins later than long after the first.
func triesBeyond(first, most, long time.Duration) int32 {
	tries := int32(1)
	for pause, waited := first, time.Duration(0); waited <= long; pause = min(2*pause, most) {
		waited += pause
		tries++
	}
	return tries
}

// asked is for what somebody waits for: nobody on the queue is said after 20 s, and a bucket that does not answer
// within two minutes is reported rather than waited for.
func asked(ctx workflow.Context, queue, summary string) workflow.Context {
	return workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		TaskQueue:              queue,
		Summary:                summary,
		ScheduleToStartTimeout: 20 * time.Second,
		HeartbeatTimeout:       urgent,
		StartToCloseTimeout:    time.Minute,
		ScheduleToCloseTimeout: 2 * time.Minute,
		RetryPolicy:            retry(askFirst, askMost, askTries),
	})
}

// observing is for the entity's look at the world: given up soon, since the next look comes anyway.
func observing(ctx workflow.Context) workflow.Context {
	return workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		TaskQueue:              TaskQueue,
		ScheduleToCloseTimeout: 2 * time.Minute,
		StartToCloseTimeout:    20 * time.Second,
		RetryPolicy:            retry(time.Second, 10*time.Second, 0),
	})
}

// once is for what the entity does after a look at the world: the next look finds what is left to do.
func once(ctx workflow.Context, summary string) workflow.Context {
	return workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		TaskQueue:              TaskQueue,
		Summary:                summary,
		ScheduleToStartTimeout: 20 * time.Second,
		StartToCloseTimeout:    time.Minute,
		RetryPolicy:            retry(time.Second, time.Second, 2),
	})
}

// checking is for the regular look at whether a failover would work: tried once, since the next one comes anyway. Nobody on
// the queue is known soon, so that another worker is asked.
func checking(ctx workflow.Context, queue string) workflow.Context {
	return workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		TaskQueue:              queue,
		Summary:                "check whether a failover would work",
		ScheduleToStartTimeout: 10 * time.Second,
		StartToCloseTimeout:    90 * time.Second,
		HeartbeatTimeout:       heartbeat,
		RetryPolicy:            retry(time.Second, time.Second, 1),
	})
}

// measuring is for listing buckets, which takes minutes where there are a million objects. It is tried once: the next time
// comes anyway.
func measuring(ctx workflow.Context) workflow.Context {
	return workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		TaskQueue:              TaskQueue,
		Summary:                "list what the buckets hold",
		ScheduleToStartTimeout: time.Minute,
		StartToCloseTimeout:    10 * time.Minute,
		HeartbeatTimeout:       heartbeat,
		RetryPolicy:            retry(time.Second, time.Second, 1),
	})
}

// beside is for what goes on beside a server for as long as it takes: a transient fault is waited out, a region
// without workers too, and only the heartbeat says that a worker is gone. StartToClose is far above a turn, because a
// shipper goes on through an outage of Temporal and its context must not end meanwhile.
func beside(ctx workflow.Context, queue, summary string) workflow.Context {
	return workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		TaskQueue:           queue,
		Summary:             summary,
		HeartbeatTimeout:    heartbeat,
		StartToCloseTimeout: 7 * 24 * time.Hour,
		WaitForCancellation: true, // the old shipper has ended when the new lineage begins
		RetryPolicy:         retry(time.Second, 15*time.Second, 0),
	})
}

// forward is for what comes after the point of no return: no end to retries, because the only way is forward.
// The short interval is a part of the recovery time.
func forward(ctx workflow.Context, region, summary string) workflow.Context {
	return workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		TaskQueue:           RegionQueue(region),
		Summary:             summary,
		HeartbeatTimeout:    urgent,
		StartToCloseTimeout: 7 * 24 * time.Hour, // a big database restores for a day; the heartbeat finds the dead
		RetryPolicy:         retry(time.Second, 15*time.Second, 0),
	})
}

// managing is for work beside a server that somebody waits for, and that takes as long as initdb, a restart or the last
// WAL takes. What may pass is tried again for a quarter of an hour; a worker that is being restarted is waited for.
func managing(ctx workflow.Context, queue, summary string) workflow.Context {
	return workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		TaskQueue:              queue,
		Summary:                summary,
		ScheduleToStartTimeout: 2 * time.Minute,
		HeartbeatTimeout:       urgent,
		StartToCloseTimeout:    15 * time.Minute,
		ScheduleToCloseTimeout: 15 * time.Minute,
		RetryPolicy:            retry(500*time.Millisecond, 10*time.Second, 0),
	})
}

// onHost is forward for what must happen on one host. That nobody there takes it up for two minutes, which is longer than a
// worker needs to be started again, ends it: the host is lost, and what was to run there is placed anew when the failover is
// resumed. Without a host it is any of the region, which is waited for without end.
func onHost(ctx workflow.Context, region, host, summary string) workflow.Context {
	ctx = forward(ctx, region, summary)
	if host == "" {
		return ctx
	}
	return workflow.WithScheduleToStartTimeout(workflow.WithTaskQueue(ctx, HostQueue(region, host)), 2*time.Minute)
}

// trying is for what must be found out before anything is changed, and takes its time: a trial of settings, or the wait until
// everything is shipped. Each has a limit of its own, of a minute or two.
func trying(ctx workflow.Context, queue, summary string) workflow.Context {
	return workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		TaskQueue:              queue,
		Summary:                summary,
		ScheduleToStartTimeout: 20 * time.Second,
		HeartbeatTimeout:       urgent,
		StartToCloseTimeout:    4 * time.Minute,
		ScheduleToCloseTimeout: 6 * time.Minute,
		RetryPolicy:            retry(500*time.Millisecond, 10*time.Second, 4),
	})
}

const (
	// notifyStart is how long the end of a workflow waits until the delivery of its last event is somebody else's affair.
	notifyStart = 10 * time.Second
	// nobodyThere is how long a delivery waits for a worker after none was found at first: a night costs a hundred attempts.
	nobodyThere = 10 * time.Minute
	// deliverFor is how long an event is worth delivering: a night in which nobody noticed that the receiver is down.
	deliverFor = 24 * time.Hour
)

// listingHooks is for reading a worker's configuration, which takes no time; a lost region is noticed soon.
func listingHooks(ctx workflow.Context, queue string) workflow.Context {
	return workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		TaskQueue:              queue,
		Summary:                "which hooks want it",
		ScheduleToStartTimeout: 10 * time.Second,
		StartToCloseTimeout:    10 * time.Second,
		RetryPolicy:            retry(time.Second, 5*time.Second, 3),
	})
}

// delivering is for one event to one hook: at once, then with pauses that grow to ten minutes, until the event is of no use any
// more. A test is tried once, since somebody waits for the outcome.
func delivering(ctx workflow.Context, queue string, left time.Duration, test bool) workflow.Context {
	options := workflow.ActivityOptions{
		TaskQueue:              queue,
		Summary:                "deliver",
		ScheduleToStartTimeout: 20 * time.Second,
		ScheduleToCloseTimeout: left,
		StartToCloseTimeout:    3 * time.Minute, // a command's longest time, and a moment to end it
		HeartbeatTimeout:       heartbeat,
		RetryPolicy:            retry(time.Second, 10*time.Minute, 0),
	}
	if test {
		options.RetryPolicy.MaximumAttempts = 1
	}
	return workflow.WithActivityOptions(ctx, options)
}

// fencingNow is for fencing a server that clients write to, and for lifting that: the time without a writer runs. Who is not
// there within seconds is said, since everything can still go back.
func fencingNow(ctx workflow.Context, queue, summary string) workflow.Context {
	policy := retry(200*time.Millisecond, 2*time.Second, 0)
	policy.NonRetryableErrorTypes = []string{string(fault.Conflict)} // somebody has decided otherwise, which stays so
	return workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		TaskQueue:              queue,
		Summary:                summary,
		ScheduleToStartTimeout: 10 * time.Second,
		HeartbeatTimeout:       urgent,
		StartToCloseTimeout:    30 * time.Second,
		ScheduleToCloseTimeout: time.Minute,
		RetryPolicy:            policy,
	})
}

// The gap of a switchover.
const (
	// gapByDefault is how long a group may be without a writer unless somebody says otherwise.
	gapByDefault = 30 * time.Second
	// gapAtLeast is less than what a switchover needs where everything goes well: a shorter cap would only ever be passed.
	gapAtLeast = 3 * time.Second
	// nearEnough is how near a server must follow before the one that it follows is fenced: segments come every second.
	nearEnough = time.Second
	// promotion is what is kept of the gap for the promotion and all that comes after the claim: two seconds with a small
	// server, more where PostgreSQL has to be started again for settings.
	promotion = 8 * time.Second
)

// preparing is for what is done before anything is changed that matters, and takes as long as a big database takes. What may
// pass is tried again until somebody cancels it; a host whose worker does not answer ends it.
func preparing(ctx workflow.Context, queue, summary string) workflow.Context {
	return workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		TaskQueue:              queue,
		Summary:                summary,
		ScheduleToStartTimeout: time.Minute, // as long as a worker takes that is started again
		HeartbeatTimeout:       urgent,
		StartToCloseTimeout:    7 * 24 * time.Hour,
		RetryPolicy:            retry(200*time.Millisecond, 10*time.Second, 0),
	})
}

// following is for what keeps a standby: it has all the time there is. A host that nobody works on for five minutes is given up,
// and the standby is made anew on another.
func following(ctx workflow.Context, queue, summary string) workflow.Context {
	return workflow.WithScheduleToStartTimeout(beside(ctx, queue, summary), 5*time.Minute)
}

// holding is for taking up a standby after the claim: one whose host does not answer at once is not waited for, since a restore
// elsewhere can begin.
func holding(ctx workflow.Context, queue, summary string) workflow.Context {
	return workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		TaskQueue:              queue,
		Summary:                summary,
		ScheduleToStartTimeout: 10 * time.Second,
		HeartbeatTimeout:       urgent,
		StartToCloseTimeout:    20 * time.Second,
		ScheduleToCloseTimeout: 30 * time.Second,
		RetryPolicy:            retry(200*time.Millisecond, 2*time.Second, 0),
	})
}

// clearing is for taking away what was made for an operation that has gone back: the bucket that made it go back may still be
// away for a moment. What is left after that is removed later, by the host.
func clearing(ctx workflow.Context, queue, summary string) workflow.Context {
	return workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		TaskQueue:              queue,
		Summary:                summary,
		ScheduleToStartTimeout: 20 * time.Second,
		HeartbeatTimeout:       urgent,
		StartToCloseTimeout:    time.Minute,
		ScheduleToCloseTimeout: 2 * time.Minute,
		RetryPolicy:            retry(500*time.Millisecond, 5*time.Second, 0),
	})
}

// retiring is for taking down what served before: the group serves already, so nobody waits for it for longer than a while.
func retiring(ctx workflow.Context, queue, summary string) workflow.Context {
	return workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		TaskQueue:              queue,
		Summary:                summary,
		ScheduleToStartTimeout: time.Minute,
		HeartbeatTimeout:       urgent,
		StartToCloseTimeout:    5 * time.Minute,
		ScheduleToCloseTimeout: 10 * time.Minute,
		RetryPolicy:            retry(time.Second, 15*time.Second, 0),
	})
}

// reserveEvery is how often it is looked whether the hosts are still there on which places are kept.
const reserveEvery = 5 * time.Minute

// reservingPlaces is for what is good to have before it is needed: given up soon, since the next look comes anyway.
func reservingPlaces(ctx workflow.Context, queue string) workflow.Context {
	return workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		TaskQueue:              queue,
		Summary:                "keep an address for each workspace in both regions",
		ScheduleToStartTimeout: 20 * time.Second,
		StartToCloseTimeout:    30 * time.Second,
		HeartbeatTimeout:       heartbeat,
		RetryPolicy:            retry(time.Second, 5*time.Second, 3),
	})
}

// The rhythm of bringing home what servers wrote after they were left.
const (
	// tailTurn is how long one attempt streams from a server that is not fenced yet, or whose bucket does not take it.
	tailTurn = 5 * time.Minute
	// tailCopyEvery is how often it is looked whether a bucket has come back without its server: four lists of a lineage each time.
	tailCopyEvery = time.Minute
	// tailCopyFirst is tailCopyEvery at first, and doubles: many outages are over soon, and those that are not cost a few lists more.
	tailCopyFirst = 5 * time.Second
	// tailPause is how soon a tail is noticed that is new, or that could not be brought.
	tailPause = 30 * time.Second
	// tailRounds is how many looks one run of Tails lasts: two hours, about 3,000 events and 1,000 for each lineage.
	tailRounds = 240
)

// awaited is for what happens in a region that may be away for good: it is taken up the moment that a worker is there again. After ten
// minutes without one the order is given anew, so that it reaches the host that the server is on by then.
func awaited(ctx workflow.Context, queue, summary string) workflow.Context {
	return workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		TaskQueue:              queue,
		Summary:                summary,
		ScheduleToStartTimeout: 10 * time.Minute,
		HeartbeatTimeout:       heartbeat,
		StartToCloseTimeout:    7 * 24 * time.Hour, // reading the files of a big tail takes its time; the heartbeat finds the dead
		RetryPolicy:            retry(time.Second, 15*time.Second, 3),
	})
}

// copying is for what goes from bucket to bucket: the activity itself gives up in time, and the next look comes anyway.
func copying(ctx workflow.Context, summary string) workflow.Context {
	return workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		TaskQueue:              TaskQueue,
		Summary:                summary,
		ScheduleToStartTimeout: time.Minute,
		HeartbeatTimeout:       heartbeat,
		StartToCloseTimeout:    15 * time.Minute,
		RetryPolicy:            retry(time.Second, time.Second, 1),
	})
}

// account is for keeping an operation's account in the catalog, which must not hold up the operation itself.
func account(ctx workflow.Context, region string) workflow.Context {
	return workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		TaskQueue:              RegionQueue(region),
		Summary:                "keep the account",
		StartToCloseTimeout:    20 * time.Second,
		ScheduleToCloseTimeout: time.Minute,
		RetryPolicy:            retry(time.Second, 5*time.Second, 0),
	})
}

// retry doubles from first to most; attempts 0 means no end. What is not worth a retry says so itself (see
// activities.judge), so no error types are listed here.
func retry(first, most time.Duration, attempts int32) *temporal.RetryPolicy {
	return &temporal.RetryPolicy{InitialInterval: first, BackoffCoefficient: 2, MaximumInterval: most, MaximumAttempts: attempts}
}
