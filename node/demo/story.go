package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/grille-gateway/grille/node/api"
)

// A Step is one question of the story.
type Step struct {
	Asker    string  `json:"asker"`
	Holder   string  `json:"holder"`
	Policy   string  `json:"policy"`
	Subject  string  `json:"subject"` // known to the two parties; shown here because the data are public
	Question string  `json:"question"`
	Verdict  string  `json:"verdict"`
	Answer   string  `json:"answer_id"`
	Proof    float64 `json:"proof_ms"`  // at the holder
	Total    float64 `json:"total_ms"`  // from question to verified verdict
	Verify   float64 `json:"verify_ms"` // at the requester, the whole bundle
	Bundle   int     `json:"bundle_bytes"`
}

// A Check is one run of `grille verify` in a process of its own.
type Check struct {
	What     string `json:"what"`
	Accepted bool   `json:"accepted"`
	Exit     int    `json:"exit"`
	Said     string `json:"said"`
}

// A Story is what the demo saw.
type Story struct {
	Ready      float64  `json:"ready_seconds"` // from start to ready to ask
	KeyKind    string   `json:"key_kind"`
	Transcript string   `json:"transcript"`  // SHA-256 of that of the key ceremony
	Finality   float64  `json:"finality_ms"` // mean over all entries so far
	Steps      []Step   `json:"steps"`
	Checks     []Check  `json:"checks"`
	Audits     []Audit  `json:"audits"`
	Members    []Member `json:"members"`
	Examples   []Sample `json:"examples,omitempty"` // programs of Asker that can be run while the demo runs
}

// A Member is where one department can be reached while the demo runs.
type Member struct {
	Name   string `json:"name"`
	Title  string `json:"title"`
	API    string `json:"api"`
	Peer   string `json:"peer"`
	Folder string `json:"folder"`
}

// The people of the story: the first fits every condition, the second's income is above the guideline, the third does not exist.
const (
	fits     = "NMES-000030"
	tooRich  = "NMES-000004"
	nobody   = "NMES-004407"
	asker    = "GOV/benefits"
	taxAsker = "GOV/tax"
)

// questions are asked in this order.
var questions = []struct{ asker, holder, subject string }{
	{asker, "GOV/civil", fits}, {asker, "GOV/tax", fits}, {asker, "GOV/health", fits}, {taxAsker, "GOV/benefits", fits},
	{asker, "GOV/tax", tooRich}, {asker, "GOV/civil", nobody},
}

// ask asks one question over the asker's REST interface, and looks up at the holder how long the proof took.
func (n *Network) ask(ctx context.Context, asker, holder, subject string) (Step, error) {
	from, to := n.Node(asker), n.Node(holder)
	before, _, err := to.histogram(ctx, "grille_proof_seconds")
	if err != nil {
		return Step{}, err
	}
	var a api.Answer
	err = from.Client().Post(ctx, "/v1/queries", api.Question{Holder: holder, Policy: to.Policy, Subject: subject, Purpose: Purpose,
		LegalBasis: LegalBasis, Case: "demo"}, &a)
	if err != nil {
		return Step{}, fmt.Errorf("%s asking %s: %w", asker, holder, err)
	}
	after, _, err := to.histogram(ctx, "grille_proof_seconds")
	if err != nil {
		return Step{}, err
	}
	bundle, err := from.bundle(ctx, a.ID)
	if err != nil {
		return Step{}, err
	}
	return Step{Asker: asker, Holder: holder, Policy: to.Policy, Subject: subject, Question: a.Question, Verdict: a.Verdict, Answer: a.ID,
		Proof: (after - before) * 1000, Total: a.Timings.TotalMillis, Verify: a.Timings.VerifyMillis, Bundle: len(bundle)}, nil
}

func (n *Node) bundle(ctx context.Context, id string) ([]byte, error) {
	var data []byte
	err := n.Client().Get(ctx, "/v1/answers/"+id, &data)
	return data, err
}

// histogram reads the sum and count of one of the gateway's histograms from its metrics page.
func (n *Node) histogram(ctx context.Context, name string) (sum float64, count uint64, err error) {
	var page []byte
	if err := n.Client().Get(ctx, "/metrics", &page); err != nil {
		return 0, 0, err
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(page))
	if err != nil {
		return 0, 0, fmt.Errorf("reading the metrics of %s: %w", n.Name, err)
	}
	for _, m := range families[name].GetMetric() {
		sum += m.GetHistogram().GetSampleSum()
		count += m.GetHistogram().GetSampleCount()
	}
	return sum, count, nil
}

// finality is the mean time from appending an entry to its quorum, over all members, in milliseconds.
func (n *Network) finality(ctx context.Context) (float64, error) {
	var sum float64
	var count uint64
	for _, node := range n.Nodes {
		s, c, err := node.histogram(ctx, "grille_finality_seconds")
		if err != nil {
			return 0, err
		}
		sum, count = sum+s, count+c
	}
	if count == 0 {
		return 0, errors.New("no entry became final")
	}
	return sum / float64(count) * 1000, nil
}

// verify runs `grille verify` on a bundle in a process that knows only the bundle, the configuration and the verifying key.
func (n *Network) verify(ctx context.Context, what string, bundle []byte) (Check, error) {
	dir, err := os.MkdirTemp(n.opts.Dir, "verify-")
	if err != nil {
		return Check{}, err
	}
	for name, data := range map[string][]byte{"answer.json": bundle, "network.json": n.Config.Bytes(), "verifying.key": n.opts.VerifyingKey} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			return Check{}, err
		}
	}
	cmd := exec.CommandContext(ctx, n.opts.Program, "verify", filepath.Join(dir, "answer.json"), "--network", filepath.Join(dir, "network.json"),
		"--key", filepath.Join(dir, "verifying.key"), "-o", "json")
	var said, complaints bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &complaints
	err = cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return Check{}, fmt.Errorf("running grille verify: %w", err)
	}
	c := Check{What: what, Accepted: err == nil, Exit: cmd.ProcessState.ExitCode()}
	var result struct {
		Reason  string `json:"reason"`
		Verdict string `json:"verdict"`
	}
	_ = json.Unmarshal(said.Bytes(), &result) // an empty result is printed as it is below
	switch {
	case c.Accepted:
		c.Said = "accepted: " + result.Verdict
	case result.Reason != "":
		why, _, _ := strings.Cut(complaints.String(), "\n")
		_, why, _ = strings.Cut(why, ": bundle ")
		c.Said = why
	default:
		c.Said = said.String() + complaints.String()
	}
	return c, nil
}

// tamper turns a refusal into a grant in the evidence, as a dishonest clerk would.
func tamper(bundle []byte) ([]byte, error) {
	changed := bytes.Replace(bundle, []byte(`"verdict":"not_satisfied"`), []byte(`"verdict":"satisfied"`), 1)
	if bytes.Equal(changed, bundle) {
		return nil, errors.New("tampering: the bundle is not a not_satisfied one")
	}
	return changed, nil
}

// tell asks the story's questions; each is shown when it is answered.
func (n *Network) tell(ctx context.Context, s *Story, show func(Step)) error {
	for _, q := range questions {
		step, err := n.ask(ctx, q.asker, q.holder, q.subject)
		if err != nil {
			return err
		}
		s.Steps = append(s.Steps, step)
		show(step)
	}
	var err error
	s.Finality, err = n.finality(ctx)
	return err
}

// prove shows that evidence is checked by anybody: as it is, and with the verdict turned round.
func (n *Network) prove(ctx context.Context, s *Story) error {
	for _, step := range s.Steps {
		if step.Verdict != "not_satisfied" {
			continue
		}
		evidence, err := n.Node(step.Asker).bundle(ctx, step.Answer)
		if err != nil {
			return err
		}
		changed, err := tamper(evidence)
		if err != nil {
			return err
		}
		honest, err := n.verify(ctx, "the evidence as it came", evidence)
		if err != nil {
			return err
		}
		forged, err := n.verify(ctx, "the same with the verdict turned into satisfied", changed)
		if err != nil {
			return err
		}
		s.Checks = []Check{honest, forged}
		if !honest.Accepted || forged.Accepted || forged.Exit != exitFalse {
			return fmt.Errorf("verification is broken: honest evidence %q, tampered evidence %q", honest.Said, forged.Said)
		}
		return nil
	}
	return errors.New("the story has no not_satisfied answer to tamper with")
}

// exitFalse is grille verify's exit code for evidence that it refuses.
const exitFalse = 3

func (n *Network) members() []Member {
	var list []Member
	for _, node := range n.Nodes {
		list = append(list, Member{Name: node.Name, Title: node.Title, API: node.API, Peer: node.Peer, Folder: string(node.Folder)})
	}
	return list
}

const shutdown = 15 * time.Second
