package ceremony

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// A contribution is made from a file and handed in as a file.
func TestContributionByFile(t *testing.T) {
	r := begin(t, nil)
	for phase := 1; phase <= 2; phase++ {
		for _, name := range names {
			task, err := r.Task()
			r.must(err)
			var out, in bytes.Buffer
			_, err = task.WriteTo(&out)
			r.must(err)
			there, err := ReadTask(&out, small())
			r.must(err)
			con, err := Contribute(context.Background(), small(), there, signer(name), clock, nil)
			r.must(err)
			_, err = con.WriteTo(&in)
			r.must(err)
			back, err := ReadContribution(&in, small())
			r.must(err)
			r.must(r.Add(context.Background(), back, nil))
		}
		r.endPhase()
	}
	if _, err := verify(r.dir); err != nil {
		t.Error(err)
	}
}

// files are a task and a contribution as they are carried.
func files(t testing.TB) (task, contribution []byte) {
	t.Helper()
	r := begin(t, nil)
	r.contribute(names[0])
	now, err := r.Task()
	r.must(err)
	var a, b bytes.Buffer
	_, err = now.WriteTo(&a)
	r.must(err)
	_, err = r.make(names[1]).WriteTo(&b)
	r.must(err)
	return a.Bytes(), b.Bytes()
}

func TestDamagedFiles(t *testing.T) {
	task, contribution := files(t)
	length := func(data []byte, magic string, n uint32) []byte {
		out := bytes.Clone(data)
		binary.BigEndian.PutUint32(out[len(magic):], n)
		return out
	}
	flip := func(data []byte, at int) []byte {
		out := bytes.Clone(data)
		out[at] ^= 1
		return out
	}
	for _, c := range []struct {
		name string
		data []byte
		want Reason
	}{
		{"empty", nil, ReasonLength},
		{"cut in the magic", task[:10], ReasonLength},
		{"cut in the transcript", task[:200], ReasonLength},
		{"cut in the payload", task[:len(task)-1], ReasonLength},
		{"grown", append(bytes.Clone(task), 0), ReasonLength},
		{"grown beyond measure", append(bytes.Clone(task), make([]byte, 1<<20)...), ReasonLength},
		{"a contribution", contribution, ReasonEncoding},
		{"4 GB of transcript", length(task, taskMagic, 1<<32-1), ReasonLength},
		{"a shorter transcript", length(task, taskMagic, 100), ReasonLength},
		{"a byte of the opening", flip(task, len(taskMagic)+50), ReasonOpening},
		{"a byte of the payload", flip(task, len(task)-1), ReasonPayload},
		{"for another circuit", task, ReasonCircuit},
	} {
		circuit := small()
		if c.want == ReasonCircuit {
			circuit = large()
		}
		_, err := ReadTask(bytes.NewReader(c.data), circuit)
		wantReason(t, "task: "+c.name, err, c.want)
	}
	for _, c := range []struct {
		name string
		data []byte
		want Reason
	}{
		{"empty", nil, ReasonLength},
		{"a task", task, ReasonEncoding},
		{"cut in the step", contribution[:100], ReasonLength},
		{"4 GB of step", length(contribution, contributionMagic, 1<<32-1), ReasonLength},
		{"grown beyond measure", append(bytes.Clone(contribution), make([]byte, 1<<20)...), ReasonLength},
		{"a byte of the step's name", flip(contribution, len(contributionMagic)+4+3), ReasonEncoding},
	} {
		_, err := ReadContribution(bytes.NewReader(c.data), small())
		wantReason(t, "contribution: "+c.name, err, c.want)
	}
}

// FuzzTranscript: what is read is what would be written, and nothing panics.
func FuzzTranscript(f *testing.F) {
	data, err := os.ReadFile(filepath.Join(finished(), transcriptFile))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add(data[:len(data)/2])
	f.Add([]byte(`{"opening":{"body":"{}","signature":""},"steps":[]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		tr, err := DecodeTranscript(data)
		if err != nil {
			var r *Refused
			if !errors.As(err, &r) {
				t.Fatal(err)
			}
			return
		}
		if !bytes.Equal(tr.Encode(), data) {
			t.Fatal("another spelling is accepted")
		}
		tr.Turn()
	})
}

// FuzzStep: a step that anybody signed is refused or follows, and nothing panics.
func FuzzStep(f *testing.F) {
	tr, err := OpenFolder(finished()).Transcript()
	if err != nil {
		f.Fatal(err)
	}
	begun, err := newTranscript(tr.signed.Opening)
	if err != nil {
		f.Fatal(err)
	}
	for _, s := range tr.signed.Steps {
		f.Add(s.Body)
	}
	f.Fuzz(func(t *testing.T, body string) {
		signed := Signed{Body: body}
		for _, name := range names {
			signed.Signature = sign(name, body)
			next, err := begun.With(signed)
			if err != nil {
				var r *Refused
				if !errors.As(err, &r) {
					t.Fatal(err)
				}
				continue
			}
			if len(next.Steps()) != 1 || next.Turn().Index != 1 || len(begun.Steps()) != 0 {
				t.Fatalf("%+v", next.Turn())
			}
		}
	})
}

// FuzzPayload: bytes of a stranger are refused or are a contribution in its one encoding, and nothing panics or allocates what the
// bytes say.
func FuzzPayload(f *testing.F) {
	states := map[int]*state{}
	for phase := 1; phase <= 2; phase++ {
		before, payload := payloads(f, phase)
		states[phase] = before
		f.Add(phase == 1, payload)
		f.Add(phase == 1, payload[:len(payload)-1])
		f.Add(phase == 1, put(phase, somePower, outside(f))(bytes.Clone(payload)))
	}
	f.Fuzz(func(t *testing.T, first bool, payload []byte) {
		phase := 2
		if first {
			phase = 1
		}
		after, err := small().accept(context.Background(), states[phase], payload)
		if err != nil {
			var r *Refused
			if !errors.As(err, &r) {
				t.Fatal(err)
			}
			return
		}
		if again, err := after.encode(); err != nil || !bytes.Equal(again, payload) {
			t.Fatal("another spelling is accepted", err)
		}
	})
}

// payloads are the first contribution of the finished ceremony in a phase and the state that it builds on.
func payloads(t testing.TB, phase int) (*state, []byte) {
	t.Helper()
	folder := OpenFolder(finished())
	tr, err := folder.Transcript()
	if err != nil {
		t.Fatal(err)
	}
	before, err := small().beginning()
	if phase == 2 && err == nil {
		var data []byte
		if data, err = folder.Payload(tr.phases[0].seal.Opens, 1<<20); err == nil {
			before, err = small().read(context.Background(), 2, data)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range tr.Payloads() {
		if p.Phase == phase {
			payload, err := folder.Payload(p.Digest, p.Size)
			if err != nil {
				t.Fatal(err)
			}
			return before, payload
		}
	}
	t.Fatal("no payload")
	return nil, nil
}

// FuzzFiles: a file from anywhere is refused, or it is a task or a contribution.
func FuzzFiles(f *testing.F) {
	task, contribution := files(f)
	f.Add(task)
	f.Add(contribution)
	f.Add([]byte(taskMagic + "\xff\xff\xff\xff"))
	f.Add([]byte(contributionMagic + "\x00\x00\x00\x02{}"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if task, err := ReadTask(bytes.NewReader(data), small()); err == nil {
			var again bytes.Buffer
			if _, err := task.WriteTo(&again); err != nil || !bytes.Equal(again.Bytes(), data) {
				t.Fatal("another spelling of a task", err)
			}
		}
		if con, err := ReadContribution(bytes.NewReader(data), small()); err == nil {
			var again bytes.Buffer
			if _, err := con.WriteTo(&again); err != nil || !bytes.Equal(again.Bytes(), data) {
				t.Fatal("another spelling of a contribution", err)
			}
		}
	})
}
