package ceremony

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// tempDir is removed when the tests are done.
var tempDir string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "ceremony-test-")
	if err != nil {
		panic(err)
	}
	tempDir = dir
	code := m.Run()
	if err := os.RemoveAll(dir); err != nil {
		panic(err)
	}
	os.Exit(code)
}

// finished is the folder of a ceremony of four, one passed over in each phase, made once. Nobody writes to it.
var finished = sync.OnceValue(func() string {
	dir := filepath.Join(tempDir, "finished")
	c, err := Create(context.Background(), dir, small(), testOpening(small()), signer(names[0]))
	if err != nil {
		panic(err)
	}
	defer c.Close()
	for range 2 {
		var err error
		for _, n := range names[:3] {
			err = errors.Join(err, contributeAs(c, n))
		}
		if err == nil {
			err = c.Pass(names[3], ReasonAbsent, clock)
		}
		if err == nil {
			err = c.ClosePhase(clock, clock.Add(time.Minute))
		}
		if err == nil {
			_, err = c.Seal(context.Background(), heads(clock.Add(time.Minute)), clock.Add(time.Minute), ledgerBeacon, nil)
		}
		if err != nil {
			panic(err)
		}
	}
	return dir
})

func contributeAs(c *Ceremony, name string) error {
	task, err := c.Task()
	if err != nil {
		return err
	}
	con, err := Contribute(context.Background(), small(), task, signer(name), clock, nil)
	if err != nil {
		return err
	}
	return c.Add(context.Background(), con, nil)
}

func verify(dir string) (*Result, error) {
	return Verify(context.Background(), dir, small(), ledgerBeacon, nil)
}

// rewrite changes steps of a finished ceremony and has everybody sign the changed chain anew: what a coordinator can do with the help
// of all. A step of which change returns false is left out.
func rewrite(t testing.TB, dir string, opening func(*Opening), change func(int, *Step) bool) {
	t.Helper()
	old, err := OpenFolder(dir).Transcript()
	if err != nil {
		t.Fatal(err)
	}
	o := old.Opening()
	if opening != nil {
		opening(&o)
	}
	signed, err := signer(o.Coordinator).sign(LabelOpening, o)
	if err != nil {
		t.Fatal(err)
	}
	f := file{Opening: signed, Steps: []Signed{}}
	previous := signed.digest(LabelOpening)
	name := previous
	for i, s := range old.Steps() {
		s.Ceremony, s.Previous, s.Index = name, previous, len(f.Steps)
		if change != nil && !change(i, &s) {
			continue
		}
		by := o.Coordinator
		if s.Kind == StepContribution {
			by = s.Member
		}
		next, err := signer(by).sign(LabelStep, s)
		if err != nil {
			t.Fatal(err)
		}
		f.Steps, previous = append(f.Steps, next), next.digest(LabelStep)
	}
	data, err := encode(f)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, transcriptFile), data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// step selects those of a kind and phase.
func of(kind string, phase int, change func(*Step)) func(int, *Step) bool {
	return func(_ int, s *Step) bool {
		if s.Kind == kind && s.Phase == phase {
			change(s)
		}
		return true
	}
}

func leaveOut(kind string, phase int) func(int, *Step) bool {
	return func(_ int, s *Step) bool { return s.Kind != kind || s.Phase != phase }
}

// A transcript that says something else is refused, whoever signed it.
func TestRewrittenTranscripts(t *testing.T) {
	for _, c := range []struct {
		name    string
		opening func(*Opening)
		change  func(int, *Step) bool
		want    Reason // empty: it verifies
	}{
		{"as it was", nil, nil, ""},
		{"no contribution in phase 1", nil, leaveOut(StepContribution, 1), ReasonTurn},
		{"no contribution in phase 1, all passed over", nil, of(StepContribution, 1, passedOver), ReasonContributors},
		{"no contribution in phase 2, all passed over", nil, of(StepContribution, 2, passedOver), ReasonContributors},
		{"one contribution in phase 2", nil, func(i int, s *Step) bool {
			if s.Kind == StepContribution && s.Phase == 2 && s.Member != names[0] {
				passedOver(s)
			}
			return true
		}, ReasonContributors},
		{"nobody wanted", func(o *Opening) { o.Contributors = 0 }, nil, ReasonOpening},
		{"one wanted", func(o *Opening) { o.Contributors = 1 }, nil, ReasonOpening},
		{"more wanted than there were", func(o *Opening) { o.Contributors = 4 }, nil, ReasonContributors},
		{"more wanted than there are", func(o *Opening) { o.Contributors = 5 }, nil, ReasonOpening},
		{"a demo with one", func(o *Opening) { o.Kind, o.Contributors = "demo", 1 }, nil, ReasonKeys}, // the kind is in the verifying key
		{"development keys", func(o *Opening) { o.Kind = "development" }, nil, ReasonOpening},
		{"another circuit", func(o *Opening) { o.Circuit = sum(nil) }, nil, ReasonCircuit},
		{"another number of public inputs", func(o *Opening) { o.PublicInputs++ }, nil, ReasonCircuit},
		{"twice the domain", func(o *Opening) { o.Domain *= 2 }, nil, ReasonDomain},
		{"half the domain", func(o *Opening) { o.Domain /= 2 }, nil, ReasonOpening},
		{"no power of two", func(o *Opening) { o.Domain++ }, nil, ReasonOpening},
		{"no domain", func(o *Opening) { o.Domain = 0 }, nil, ReasonOpening},
		{"a coordinator from elsewhere", func(o *Opening) { o.Coordinator = "GOV/other" }, nil, ReasonOpening},
		{"one key for two", func(o *Opening) { o.Members[1].Key = o.Members[2].Key }, nil, ReasonOpening},
		{"one member twice", func(o *Opening) { o.Members[1] = o.Members[2] }, nil, ReasonOpening},
		{"a member's other key", func(o *Opening) { o.Members[1].Key = publicKey("GOV/other") }, nil, ReasonSignature},
		{"a short key", func(o *Opening) { o.Members[3].Key = "AAAA" }, nil, ReasonOpening},
		{"no turn's time", func(o *Opening) { o.TurnSeconds = 0 }, nil, ReasonOpening},
		{"opened at a fraction of a second", func(o *Opening) { o.Opened = "2026-03-01T12:00:00.5Z" }, nil, ReasonOpening},
		{"opened at no time", func(o *Opening) { o.Opened = "" }, nil, ReasonOpening},
		{"another version", func(o *Opening) { o.Version = 2 }, nil, ReasonOpening},
		{"a name with quotes", func(o *Opening) { o.Instance = "a\"b" }, nil, ReasonOpening},
		{"another configuration", func(o *Opening) { o.Configuration = "aa" }, nil, ReasonOpening},
		{"another instance", func(o *Opening) { o.Instance = "other" }, nil, ""}, // for the caller to compare
		{"one member twice in a phase", nil, of(StepContribution, 1, func(s *Step) { s.Member = names[0] }), ReasonTurn},
		{"other order", nil, of(StepContribution, 2, func(s *Step) { s.Member = names[1] }), ReasonTurn},
		{"another payload", nil, of(StepContribution, 2, func(s *Step) { s.Payload = sum([]byte(s.Member)) }), "missing"},
		{"another size", nil, of(StepContribution, 1, func(s *Step) { s.Size-- }), ReasonPayload},
		{"no seal of phase 1", nil, leaveOut(StepSeal, 1), ReasonTurn},
		{"no end of phase 2", nil, leaveOut(StepClose, 2), ReasonTurn},
		{"not sealed", nil, leaveOut(StepSeal, 2), ReasonTurn},
		{"an older beacon", nil, of(StepClose, 1, func(s *Step) { s.BeaconAfter = s.Time }), ""}, // the heads are newer still
		{"a beacon of before", nil, of(StepSeal, 1, func(s *Step) { s.Evidence = base64.StdEncoding.EncodeToString(heads(clock)) }), ReasonBeacon},
		{"another beacon", nil, of(StepSeal, 1, func(s *Step) { s.Beacon = sum(nil) }), ReasonBeacon},
		{"another beacon of phase 2", nil, of(StepSeal, 2, func(s *Step) { s.Beacon = sum(nil) }), ReasonBeacon},
		{"other heads", nil, of(StepSeal, 2, moreHeads), ReasonKeys}, // a beacon that its evidence gives, but not the one that was used
		{"other heads in phase 1", nil, of(StepSeal, 1, moreHeads), ReasonBase},
		{"no evidence", nil, of(StepSeal, 2, func(s *Step) { s.Evidence = "" }), ReasonBeacon},
		{"evidence in another spelling", nil, of(StepSeal, 2, func(s *Step) { s.Evidence += "\n" }), ReasonEncoding},
		{"another beginning of phase 2", nil, of(StepSeal, 1, func(s *Step) { s.Opens = sum(nil) }), ReasonBase},
		{"another verifying key", nil, of(StepSeal, 2, func(s *Step) { s.VerifyingKey = sum(nil) }), ReasonKeys},
		{"another proving key", nil, of(StepSeal, 2, func(s *Step) { s.ProvingKey = sum(nil) }), ReasonKeys},
		{"keys after phase 1", nil, of(StepSeal, 1, func(s *Step) { s.ProvingKey = sum(nil) }), ReasonEncoding},
		{"sealed before the beacon", nil, of(StepSeal, 1, func(s *Step) { s.Time = formatTime(clock) }), ReasonTime},
	} {
		dir := copyOf(t, finished())
		rewrite(t, dir, c.opening, c.change)
		_, err := verify(dir)
		switch {
		case c.want == "missing":
			if !errors.Is(err, ErrNoPayload) {
				t.Errorf("%s: %v", c.name, err)
			}
		case c.want == "" && err != nil:
			t.Errorf("%s: %v", c.name, err)
		case c.want != "":
			wantReason(t, c.name, err, c.want)
		}
	}
}

func passedOver(s *Step) {
	*s = Step{Version: 1, Kind: StepPass, Ceremony: s.Ceremony, Index: s.Index, Previous: s.Previous, Phase: s.Phase, Member: s.Member,
		Time: s.Time, Reason: ReasonAbsent}
}

func moreHeads(s *Step) {
	evidence := heads(clock.Add(time.Hour))
	beacon, err := ledgerBeacon(evidence, clock)
	if err != nil {
		panic(err)
	}
	s.Evidence, s.Beacon = base64.StdEncoding.EncodeToString(evidence), fmt.Sprintf("%x", beacon)
}

// Every byte of transcript.json counts: with any one changed, it is refused before a payload is read.
func TestTranscriptWithAChangedByte(t *testing.T) {
	data, err := os.ReadFile(filepath.Join(finished(), transcriptFile))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := DecodeTranscript(data); err != nil {
		t.Fatal(err)
	}
	for i := range data {
		damaged := bytes.Clone(data)
		damaged[i] ^= 1 << (i % 8)
		var r *Refused
		if _, err := DecodeTranscript(damaged); !errors.As(err, &r) {
			t.Fatalf("byte %d of %d: %v", i, len(data), err)
		}
	}
	for _, n := range []int{0, 1, len(data) / 2, len(data) - 1} {
		if _, err := DecodeTranscript(data[:n]); err == nil {
			t.Errorf("cut to %d bytes", n)
		}
	}
	if _, err := DecodeTranscript(append(bytes.Clone(data), '\n')); err == nil {
		t.Error("a line more")
	}
}

func TestDamagedFolders(t *testing.T) {
	whole, err := OpenFolder(finished()).Transcript()
	if err != nil {
		t.Fatal(err)
	}
	payload := func(i int) string { return filepath.Join(payloadsDir, whole.Payloads()[i].Digest+".bin") }
	flip := func(i int) func(string) error {
		return func(dir string) error {
			path := filepath.Join(dir, payload(i))
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			data[len(data)/3] ^= 4
			return os.WriteFile(path, data, 0o600)
		}
	}
	for name, c := range map[string]struct {
		damage func(dir string) error
		reason Reason
		err    error
	}{
		"a byte of the first payload": {flip(0), ReasonPayload, nil},
		"a byte of the last payload":  {flip(5), ReasonPayload, nil},
		"a payload cut":               {func(d string) error { return os.Truncate(filepath.Join(d, payload(1)), 100) }, ReasonPayload, nil},
		"a payload grown":             {func(d string) error { return os.Truncate(filepath.Join(d, payload(1)), 1<<20) }, ReasonLength, nil},
		"a payload missing":           {func(d string) error { return os.Remove(filepath.Join(d, payload(2))) }, "", ErrNoPayload},
		"no transcript":               {func(d string) error { return os.Remove(filepath.Join(d, transcriptFile)) }, "", ErrNoTranscript},
		"no folder":                   {os.RemoveAll, "", ErrNoTranscript},
		"a transcript beyond measure": {func(d string) error { return os.Truncate(filepath.Join(d, transcriptFile), MaxTranscript+1) }, ReasonEncoding, nil},
		"a transcript with zeros":     {func(d string) error { return os.Truncate(filepath.Join(d, transcriptFile), MaxTranscript) }, ReasonEncoding, nil},
		"payloads for one another":    {func(d string) error { return os.Rename(filepath.Join(d, payload(1)), filepath.Join(d, payload(0))) }, ReasonPayload, nil},
		"a folder in a payload's place": {func(d string) error {
			return errors.Join(os.Remove(filepath.Join(d, payload(3))), os.Mkdir(filepath.Join(d, payload(3)), 0o700))
		}, "", os.ErrInvalid},
	} {
		dir := copyOf(t, finished())
		if err := c.damage(dir); err != nil {
			t.Fatal(err)
		}
		_, err := verify(dir)
		switch {
		case c.reason != "":
			wantReason(t, name, err, c.reason)
		case c.err == os.ErrInvalid:
			if err == nil {
				t.Error(name)
			}
		case !errors.Is(err, c.err):
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A coordinator in league with a member takes a false contribution; whoever verifies the transcript refuses it.
func TestFalseContributionInATranscript(t *testing.T) {
	for phase := 1; phase <= 2; phase++ {
		for _, f := range forgeries {
			if len(f.phases) != 0 && f.phases[0] != phase || f.want != ReasonProof && f.want != ReasonUnchanged && f.name != "not based on the last" {
				continue
			}
			r := begin(t, nil)
			if phase == 2 {
				r.wholePhase()
			}
			r.contribute(names[0])
			r.force(f.forge(t, r, phase))
			r.must(r.Pass(names[2], ReasonAbsent, clock))
			r.must(r.Pass(names[3], ReasonAbsent, clock))
			r.endPhase()
			if phase == 1 {
				r.wholePhase()
			}
			r.Close()
			_, err := verify(r.dir)
			wantReason(t, fmt.Sprintf("phase %d: %s", phase, f.name), err, f.want)
		}
	}
}

func TestVerifyStops(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	stages := 0
	_, err := Verify(ctx, finished(), small(), ledgerBeacon, func(string) {
		if stages++; stages == 2 {
			cancel()
		}
	})
	if !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if _, err := Verify(context.Background(), finished(), large(), ledgerBeacon, nil); err == nil {
		t.Error("verified with another circuit")
	} else {
		wantReason(t, "another circuit", err, ReasonCircuit)
	}
}
