package ceremony

import (
	"context"
	"sync"
	"time"
)

// ContributeTogether has members contribute to the open phase that are all in this process: for a demo, and to measure. The first is
// the one whose turn it is. Each begins with what the one before made, while that is being verified, and so two processors are busy.
// now is the clock of the steps. The error is the first of Contribute or Add; contributions before it stand.
func (c *Ceremony) ContributeTogether(ctx context.Context, members []Signer, now func() time.Time, progress func(stage string)) error {
	task, err := c.Task()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	progress = oneAtATime(progress)
	made := make(chan *Contribution, len(members))
	done := make(chan error, 1)
	go func() {
		done <- c.addAll(ctx, made, cancel, progress)
	}()
	err = c.makeAll(ctx, task, members, now, made, progress)
	close(made)
	if addErr := <-done; addErr != nil { // it is the cause: whoever contributes then only sees the context end
		return addErr
	}
	return err
}

// makeAll makes one contribution after another.
func (c *Ceremony) makeAll(ctx context.Context, task *Task, members []Signer, now func() time.Time, made chan<- *Contribution,
	progress func(string)) error {
	for i, m := range members {
		con, err := Contribute(ctx, c.circuit, task, m, now(), func(stage string) { tell(progress, m.Member+": "+stage) })
		if err != nil {
			return err
		}
		made <- con
		if i == len(members)-1 {
			return nil
		}
		if task, err = task.After(con); err != nil {
			return err
		}
	}
	return nil
}

// addAll verifies what is made.
func (c *Ceremony) addAll(ctx context.Context, made <-chan *Contribution, cancel func(), progress func(string)) error {
	for con := range made {
		if err := c.Add(ctx, con, progress); err != nil {
			cancel()
			return err
		}
	}
	return nil
}

// oneAtATime lets two goroutines tell their stages.
func oneAtATime(progress func(string)) func(string) {
	var mu sync.Mutex
	return func(stage string) {
		mu.Lock()
		defer mu.Unlock()
		tell(progress, stage)
	}
}
