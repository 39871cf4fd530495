package workflows

import (
	"testing"
	"time"

	"github.com/stretchr/testify/mock"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/workflow"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/topology"
)

// expiring runs Expire of a terminated group; rounds says what each round of a region's bucket finds.
func expiring(t *testing.T, rounds func(region string, round int) (topology.Swept, error)) (env *testsuite.TestWorkflowEnvironment, made map[string]int) {
	env, made = newEnv(t), map[string]int{}
	env.OnWorkflow(RetentionType, mock.Anything, mock.Anything).Return(func(_ workflow.Context, in RetentionInput) (topology.Swept, error) {
		if in.DryRun || in.GraceMinutes != nil {
			t.Errorf("asked for %+v", in)
		}
		made[in.Region]++
		return rounds(in.Region, made[in.Region])
	})
	g := configured()
	g.State = topology.GroupTerminated
	env.OnActivity(control.ReadGroup, mock.Anything, mock.Anything).Return(g, nil).Maybe()
	return env, made
}

func kept(objects int64) topology.Swept {
	return topology.Swept{Kept: map[string]topology.StoredKind{topology.SweptWAL: {Objects: objects}}}
}

// Rounds go on until both buckets are empty, whatever fails meanwhile.
func TestATerminatedGroupIsLookedThroughUntilNothingIsLeft(t *testing.T) {
	env, made := expiring(t, func(region string, round int) (topology.Swept, error) {
		switch {
		case region == "west" && round == 2:
			return topology.Swept{}, fails(fault.Transient, "the bucket does not answer")
		case region == "west" && round == 4:
			return topology.Swept{Later: topology.StoredKind{Objects: 1}}, nil
		case region == "west" && round == 1, region == "east" && round == 3:
			return kept(3), nil
		}
		return kept(0), nil
	})
	began := env.Now()
	env.ExecuteWorkflow(Expire, ExpireInput{Group: "prod"})
	if err := env.GetWorkflowError(); err != nil {
		t.Fatal(err)
	}
	if made["west"] != 5 || made["east"] != 5 {
		t.Errorf("rounds: %v", made)
	}
	if took := env.Now().Sub(began); took < 4*sweepEvery || took > 4*sweepEvery+time.Hour/2 {
		t.Errorf("it took %s", took)
	}
}

// Whoever lost the group to another control plane leaves it alone.
func TestWhatAnotherControlPlaneActsForIsNotExpired(t *testing.T) {
	env, made := expiring(t, func(string, int) (topology.Swept, error) {
		return topology.Swept{}, fails(fault.Fenced, "another one acts")
	})
	env.ExecuteWorkflow(Expire, ExpireInput{Group: "prod"})
	if f := failureOf(t, env); f.Type != string(fault.Fenced) || len(made) != 1 {
		t.Errorf("%+v after %v", f, made)
	}
}

func TestOnlyATerminatedGroupExpires(t *testing.T) {
	env := newEnv(t)
	env.OnActivity(control.ReadGroup, mock.Anything, mock.Anything).Return(configured(), nil)
	env.ExecuteWorkflow(Expire, ExpireInput{Group: "prod"})
	if f := failureOf(t, env); f.Type != string(fault.Invalid) {
		t.Errorf("%+v", f)
	}
}

// noExpire lets Replication start Expire, which does nothing but count.
func noExpire(env *testsuite.TestWorkflowEnvironment, started *int) {
	env.OnWorkflow(Expire, mock.Anything, mock.Anything).Return(func(_ workflow.Context, in ExpireInput) error {
		if in.Group == "prod" {
			*started++
		}
		return nil
	})
}
