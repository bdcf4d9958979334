package ceremony

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/grille-gateway/grille/ledger/network"
	"github.com/grille-gateway/grille/node/api"
	"github.com/grille-gateway/grille/node/peer"
	rules "github.com/grille-gateway/grille/prover/ceremony"
)

// rogue is a member that speaks to a coordinator without the service.
type rogue struct {
	w        *world
	name     string
	to       string
	ceremony string
}

func (r rogue) say(kind peer.Kind, body []byte) ([]byte, error) {
	return r.w.call(r.w.t.Context(), r.name, r.to, kind, body)
}

func (r rogue) ask(q question) (position, error) {
	q.Version, q.Ceremony = 1, r.ceremony
	reply, err := r.say(peer.KindCeremony, mustEncode(q))
	if err != nil {
		return position{}, err
	}
	a, err := decodeAnswer(reply)
	if err != nil {
		return position{}, err
	}
	return a.Ceremonies[0], nil
}

// turn waits for the rogue's turn and returns what it would contribute to.
func (r rogue) turn() *rules.Task {
	r.w.t.Helper()
	c := r.w.at(r.to).running[r.ceremony]
	r.w.eventually("it is the turn of "+r.name, func() bool {
		p, err := r.ask(question{There: true})
		r.w.check(err)
		return p.State == stateTurn && p.Turn == r.name
	})
	task, err := c.ceremony.Task()
	r.w.check(err)
	return task
}

func (r rogue) signer() rules.Signer {
	return rules.Signer{Member: r.name, Key: keysOf.Key("query " + r.name)}
}

// honest is a contribution that would be accepted.
func (r rogue) honest(task *rules.Task) *rules.Contribution {
	r.w.t.Helper()
	circuit, err := tinyCircuit()
	r.w.check(err)
	made, err := rules.Contribute(r.w.t.Context(), circuit, task, r.signer(), time.Now(), nil)
	r.w.check(err)
	return made
}

// resign changes the step of a contribution and signs it again.
func resign(made *rules.Contribution, key ed25519.PrivateKey, change func(*rules.Step)) *rules.Contribution {
	var step rules.Step
	if err := json.Unmarshal([]byte(made.Step.Body), &step); err != nil {
		panic(err)
	}
	change(&step)
	var body bytes.Buffer
	enc := json.NewEncoder(&body)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(step); err != nil {
		panic(err)
	}
	text := string(bytes.TrimSuffix(body.Bytes(), []byte("\n")))
	signature := ed25519.Sign(key, []byte(rules.LabelStep+"\n"+text))
	return &rules.Contribution{Step: rules.Signed{Body: text, Signature: base64.StdEncoding.EncodeToString(signature)}, Payload: made.Payload}
}

// upload brings bytes to the coordinator.
func (r rogue) upload(data []byte) error {
	id, err := parseDigest(r.ceremony)
	r.w.check(err)
	o := offer{Ceremony: id, File: sha256.Sum256(data), Size: uint64(len(data))}
	for {
		o.Part = data[o.Offset:min(o.Size, o.Offset+MaxPart)]
		reply, err := r.say(peer.KindOffer, o.encode())
		if err != nil {
			return err
		}
		if o.Offset, err = decodeHeld(reply, o.Size); err != nil || o.Offset == o.Size {
			return err
		}
	}
}

// payloadOf is a contribution with other bytes, and a step that says so.
func (r rogue) payloadOf(made *rules.Contribution, payload []byte) *rules.Contribution {
	out := resign(made, r.signer().Key, func(s *rules.Step) {
		s.Payload, s.Size = digest(sha256.Sum256(payload)).String(), int64(len(payload))
	})
	out.Payload = payload
	return out
}

// TestRefusedContributions lets one member hand in all that no member may. Each is recorded with its reason, and the ceremony goes on to
// keys that verify.
func TestRefusedContributions(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		bad   func(r rogue, task *rules.Task, first *rules.Contribution) *rules.Contribution // first was accepted before
		wants rules.Reason
	}{
		{"garbage of the right length", func(r rogue, task *rules.Task, first *rules.Contribution) *rules.Contribution {
			made := r.honest(task)
			return r.payloadOf(made, bytesOf(len(made.Payload)))
		}, rules.ReasonDomain},
		{"too long", func(r rogue, task *rules.Task, first *rules.Contribution) *rules.Contribution {
			made := r.honest(task)
			return r.payloadOf(made, append(bytes.Clone(made.Payload), 0))
		}, rules.ReasonLength},
		{"truncated", func(r rogue, task *rules.Task, first *rules.Contribution) *rules.Contribution {
			made := r.honest(task)
			return r.payloadOf(made, made.Payload[:len(made.Payload)-1])
		}, rules.ReasonLength},
		{"what another contributed", func(r rogue, task *rules.Task, first *rules.Contribution) *rules.Contribution {
			return r.payloadOf(r.honest(task), first.Payload)
		}, rules.ReasonChain},
		{"what another signed", func(_ rogue, _ *rules.Task, first *rules.Contribution) *rules.Contribution { return first }, rules.ReasonChain},
		{"based on the beginning instead of the last", func(r rogue, task *rules.Task, first *rules.Contribution) *rules.Contribution {
			other := newWorld(r.w.t, r.w.cfg.Mode) // the same members in a ceremony of their own
			other.start(civil)
			r2 := rogue{other, r.name, civil, other.open(civil, api.CeremonyOpening{TurnSeconds: 60, Members: []string{r.name, civil}})}
			return r.payloadOf(r.honest(task), r2.honest(r2.turn()).Payload)
		}, rules.ReasonBase},
		{"of another ceremony", func(r rogue, task *rules.Task, first *rules.Contribution) *rules.Contribution {
			return resign(r.honest(task), r.signer().Key, func(s *rules.Step) { s.Ceremony = digest{}.String() })
		}, rules.ReasonChain},
		{"signed by another key", func(r rogue, task *rules.Task, first *rules.Contribution) *rules.Contribution {
			return resign(r.honest(task), keysOf.Key("log "+r.name), func(*rules.Step) {})
		}, rules.ReasonSignature},
		{"in the name of another", func(r rogue, task *rules.Task, first *rules.Contribution) *rules.Contribution {
			return resign(r.honest(task), r.signer().Key, func(s *rules.Step) { s.Member = tax })
		}, rules.ReasonSignature},
		{"a pass instead", func(r rogue, task *rules.Task, first *rules.Contribution) *rules.Contribution {
			return resign(r.honest(task), r.signer().Key, func(s *rules.Step) {
				s.Kind, s.Reason, s.Payload, s.Size = rules.StepPass, rules.ReasonAbsent, "", 0
			})
		}, rules.ReasonSignature},
		{"another's proof of knowledge", func(r rogue, task *rules.Task, first *rules.Contribution) *rules.Contribution {
			made, again := r.honest(task), r.honest(task)
			payload := bytes.Clone(made.Payload)
			copy(payload[:144], again.Payload[:144]) // of tau: 48 bytes in G1, 96 in G2
			return r.payloadOf(made, payload)
		}, rules.ReasonProof},
		{"a changed byte", func(r rogue, task *rules.Task, first *rules.Contribution) *rules.Contribution {
			made := r.honest(task)
			payload := bytes.Clone(made.Payload)
			payload[len(payload)-40] ^= 1 // within the last point
			return r.payloadOf(made, payload)
		}, rules.ReasonPoints},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, network.ModeDemo) // in which one process verifies for all
			w.start(benefits, civil, tax)
			id := w.open(civil, api.CeremonyOpening{TurnSeconds: 60, Contributors: 3, Members: []string{tax, health, civil, benefits}})
			w.contribute(id, tax, civil, benefits)
			r := rogue{w, health, civil, id}
			task := r.turn()
			first := &rules.Contribution{Step: signedStep(task.Transcript, 0), Payload: task.Base}
			bad := c.bad(r, task, first)
			circuit, err := tinyCircuit()
			w.check(err)
			if err := r.upload(bad.Payload); int64(len(bad.Payload)) != circuit.PayloadSize(1) && !isRefusal(err, string(rules.ReasonLength)) {
				t.Errorf("its bytes are taken: %v", err)
			}
			_, err = r.ask(question{Step: &bad.Step, There: true})
			w.check(err)
			told, err := r.ask(question{})
			for err == nil && told.Yours.State == handedChecking { // as a member does that waits for what becomes of it
				told, err = r.ask(question{There: true, Seen: told.Mark, Wait: maxWait})
			}
			w.check(err)
			w.eventually("the ceremony is done", func() bool {
				s := w.status(civil, id)
				if s.Phase == 2 && s.Turn == health { // nobody waits for it any more, unless its turn ended just now
					_, _ = w.at(civil).SealCeremony(t.Context(), id)
				}
				return s.State == stateDone
			})
			s := w.status(tax, id)
			i := slices.IndexFunc(s.Members, func(m api.CeremonyMember) bool { return m.Member == health })
			if turns := s.Members[i].Turns; len(turns) == 0 || turns[0].Reason != string(c.wants) {
				t.Errorf("recorded as %+v, want %s", s.Members[i], c.wants)
			}
			_, err = w.at(tax).FetchCeremony(t.Context(), id)
			w.check(err)
			w.eventually("fetched", func() bool { return w.status(tax, id).Here.Task == "" })
			if result := w.verifies(tax, id); len(result.Phases[0]) != 3 || len(result.Phases[1]) != 3 {
				t.Errorf("%+v", result.Phases)
			}
		})
	}
}

// signedStep is a step of a transcript as it was signed.
func signedStep(t *rules.Transcript, i int) rules.Signed {
	var file struct {
		Steps []rules.Signed `json:"steps"`
	}
	if err := json.Unmarshal(t.Encode(), &file); err != nil {
		panic(err)
	}
	return file.Steps[i]
}

// TestMessagesRefused lets members say what they may not.
func TestMessagesRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t, network.ModeProduction)
	w.start(civil)
	id := w.open(civil, api.CeremonyOpening{TurnSeconds: 60, Contributors: 2, Members: []string{tax, civil, health}})
	name, err := parseDigest(id)
	w.check(err)
	first := rogue{w, tax, civil, id}
	made := first.honest(first.turn())
	part := offer{Ceremony: name, File: sha256.Sum256(made.Payload), Size: uint64(len(made.Payload)), Part: made.Payload[:10]}
	for _, c := range []struct {
		what, from string
		kind       peer.Kind
		body       []byte
		want       string
	}{
		{"nothing", tax, peer.KindCeremony, nil, codeMalformed},
		{"no JSON", tax, peer.KindCeremony, []byte("{"), codeMalformed},
		{"another version", tax, peer.KindCeremony, []byte(`{"v":2}`), codeMalformed},
		{"an unknown field", tax, peer.KindCeremony, []byte(`{"v":1,"admin":true}`), codeMalformed},
		{"to be there in no ceremony", tax, peer.KindCeremony, []byte(`{"v":1,"there":true}`), codeMalformed},
		{"a wait beyond the bound", tax, peer.KindCeremony, []byte(`{"v":1,"ceremony":"` + id + `","wait":16}`), codeMalformed},
		{"no digest", tax, peer.KindCeremony, []byte(`{"v":1,"ceremony":"x"}`), codeMalformed},
		{"another ceremony", tax, peer.KindCeremony, []byte(`{"v":1,"ceremony":"` + digest{}.String() + `"}`), codeUnknown},
		{"to be there without taking part", benefits, peer.KindCeremony, []byte(`{"v":1,"ceremony":"` + id + `","there":true}`), codeNotMember},
		{"a step without taking part", benefits, peer.KindCeremony, mustEncode(question{Version: 1, Ceremony: id, Step: &made.Step}), codeNotMember},
		{"a step out of turn", health, peer.KindCeremony, mustEncode(question{Version: 1, Ceremony: id, Step: &made.Step}), codeNotTurn},
		{"a step before its bytes", tax, peer.KindCeremony, mustEncode(question{Version: 1, Ceremony: id, Step: &made.Step}), codeNotHeld},
		{"bytes out of turn", health, peer.KindOffer, part.encode(), codeNotTurn},
		{"bytes without taking part", benefits, peer.KindOffer, part.encode(), codeNotTurn},
		{"half an offer", tax, peer.KindOffer, part.encode()[:20], codeMalformed},
		{"bytes of another length", tax, peer.KindOffer, func() []byte { o := part; o.Size++; return o.encode() }(), string(rules.ReasonLength)},
		{"bytes for another ceremony", tax, peer.KindOffer, func() []byte { o := part; o.Ceremony = digest{}; return o.encode() }(), codeUnknown},
		{"a file that is not there", health, peer.KindFetch, fetch{digest{1}, 0, 1}.encode(), codeNotHeld},
		{"half a fetch", health, peer.KindFetch, make([]byte, 10), codeMalformed},
	} {
		if _, err := w.call(t.Context(), c.from, civil, c.kind, c.body); !isRefusal(err, c.want) {
			t.Errorf("%s: %v, want %s", c.what, err, c.want)
		}
	}
	p, err := first.ask(question{})
	w.check(err)
	transcript, err := parseDigest(p.Transcript)
	w.check(err)
	for _, f := range []fetch{{transcript, uint64(p.Size), 1}, {transcript, 0, uint32(p.Size) + 1}, {transcript, uint64(p.Size) - 1, 2}} {
		if _, err := w.call(t.Context(), health, civil, peer.KindFetch, f.encode()); !isRefusal(err, codeNotHeld) {
			t.Errorf("%d bytes at %d: %v", f.Length, f.Offset, err)
		}
	}
	// Whoever is a member of the network may read, taking part or not.
	if data, err := w.call(t.Context(), benefits, civil, peer.KindFetch, fetch{transcript, 0, uint32(p.Size)}.encode()); err != nil || sha256.Sum256(data) != transcript {
		t.Error(err)
	}
	// Another file in place of the one that was begun: one is on disk at a time.
	w.check(first.upload(made.Payload[:]))
	other := first.honest(first.turn())
	half := offer{Ceremony: name, File: sha256.Sum256(other.Payload), Size: uint64(len(other.Payload)), Part: other.Payload[:10]}
	_, err = w.call(t.Context(), tax, civil, peer.KindOffer, half.encode())
	w.check(err)
	if files := w.files(civil, "ceremony/"+id+"/incoming/*"); len(files) != 1 {
		t.Errorf("%v are kept", files)
	}
	// The bytes that are kept are not those that a step names.
	if _, err := first.ask(question{Step: &other.Step}); !isRefusal(err, codeNotHeld) {
		t.Errorf("half a contribution: %v", err)
	}
	if s := w.status(civil, id); s.Turn != tax || s.Steps != 0 {
		t.Errorf("something of it was recorded: %+v", s)
	}
	var refused *peer.RemoteError
	if _, err := w.call(t.Context(), tax, civil, peer.KindCeremony, make([]byte, maxRequest+1)); errors.As(err, &refused) || err == nil {
		t.Errorf("a message beyond its bound: %v", err)
	}
}
