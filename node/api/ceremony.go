package api

import (
	"context"
	"io"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
)

// KeyCeremonies is what the REST interface needs of a gateway for the key ceremony. Commands are idempotent: repeating one that is done or
// under way returns how things stand. An empty id stands for the one ceremony that is known and fits the command.
type KeyCeremonies interface {
	// Ceremonies lists the ceremonies known here, the newest first, as their coordinators tell now.
	Ceremonies(ctx context.Context) ([]Ceremony, error)
	// Ceremony returns one that Ceremonies listed before; only its coordinator is asked.
	Ceremony(ctx context.Context, id string) (*Ceremony, error)
	// OpenCeremony opens a ceremony with this gateway as its coordinator.
	OpenCeremony(ctx context.Context, o CeremonyOpening) (*Ceremony, error)
	// Contribute makes this member's contributions, in one phase or (0) in both, when its turns come; it returns at once.
	Contribute(ctx context.Context, id string, phase int) (*Ceremony, error)
	// SealCeremony closes the open phase now if that may be, or seals it, without waiting for those who are not there.
	SealCeremony(ctx context.Context, id string) (*Ceremony, error)
	// VerifyCeremony verifies the whole transcript, or (adopt) takes over what the coordinator verified, and stores the keys; it returns
	// at once.
	VerifyCeremony(ctx context.Context, id string, adopt bool) (*Ceremony, error)
	// FetchCeremony completes this gateway's copy of a ceremony, in Here.Folder, for verifying or contributing elsewhere; it returns at once.
	FetchCeremony(ctx context.Context, id string) (*Ceremony, error)
	// SubmitContribution takes a contribution that was made on another machine.
	SubmitContribution(ctx context.Context, r io.Reader) (*Ceremony, error)
}

// CeremonyOpening says what a new ceremony is to be.
type CeremonyOpening struct {
	Members      []string `json:"members,omitempty" maxItems:"64" doc:"Members that may contribute, in the order of their turns; absent: all, by name"`
	Contributors int      `json:"contributors,omitempty" minimum:"0" maximum:"64" doc:"Least number of distinct members in each phase; 0 or absent: all but one, at least 2 (1 in a demo)"`
	TurnSeconds  int      `json:"turn_seconds,omitempty" minimum:"0" maximum:"2592000" doc:"How long a member has for its contribution; 0 or absent: an hour"`
	BeaconDelay  *int     `json:"beacon_delay_seconds,omitempty" minimum:"0" maximum:"86400" doc:"From the end of a phase to the announced time of its beacon; absent: a minute"`
}

// Ceremony is how a key ceremony stands.
type Ceremony struct {
	ID           string           `json:"ceremony" doc:"SHA-256 of its opening"`
	Kind         string           `json:"kind" enum:"ceremony,demo"`
	Coordinator  string           `json:"coordinator"`
	Circuit      string           `json:"circuit"`
	Opened       string           `json:"opened"`
	Contributors int              `json:"contributors" doc:"Least number of distinct members in each phase"`
	TurnSeconds  int              `json:"turn_seconds"`
	Phase        int              `json:"phase" doc:"1 or 2"`
	State        string           `json:"state" enum:"turn,checking,open,beacon,sealing,done" doc:"turn: Turn contributes until Until; checking: its contribution is verified; open: waits until somebody who was passed over comes; beacon: waits for checkpoints from after Until; sealing: keys are being made; done: both phases are sealed"`
	Turn         string           `json:"turn,omitempty" doc:"Whose turn it is"`
	Until        string           `json:"until,omitempty" doc:"When it ends, or the announced time of the beacon, UTC"`
	Waiting      []string         `json:"waiting,omitempty" doc:"Members that are there and wait for their turn"`
	Members      []CeremonyMember `json:"members"`
	Steps        int              `json:"steps" doc:"In the transcript"`
	Transcript   string           `json:"transcript" doc:"SHA-256 of the transcript as it is"`
	VerifyingKey string           `json:"verifying_key,omitempty" doc:"SHA-256, once both phases are sealed"`
	ProvingKey   string           `json:"proving_key,omitempty"`
	Fault        string           `json:"fault,omitempty" doc:"Why nothing goes on, or why the coordinator could not be asked"`
	Here         CeremonyHere     `json:"here"`
}

// CeremonyMember is what one member did.
type CeremonyMember struct {
	Member string         `json:"member"`
	Phases [2]string      `json:"phases" doc:"Of each phase: contributed, absent, refused, now, or empty"`
	Turns  []CeremonyTurn `json:"turns,omitempty"`
}

// CeremonyTurn is one contribution, or why it was passed over.
type CeremonyTurn struct {
	Phase  int    `json:"phase"`
	Time   string `json:"time"`
	Reason string `json:"reason,omitempty" doc:"Why the member was passed over: absent, or the reason to refuse what it sent"`
}

// CeremonyHere is what this gateway does in a ceremony.
type CeremonyHere struct {
	Folder   string `json:"folder" doc:"Where its copy of the transcript and the contributions is"`
	Task     string `json:"task,omitempty" enum:",contribute,verify,fetch" doc:"What it is at"`
	Stage    string `json:"stage,omitempty" doc:"How far that is, in words"`
	Fault    string `json:"fault,omitempty" doc:"Why the last task ended without success"`
	Verified string `json:"verified,omitempty" enum:",verified,adopted" doc:"This gateway verified the whole transcript, or took over what the coordinator verified"`
}

const (
	maxContribution  = 64 << 20         // bytes of a contribution in a file; one to the statement has 5 MB
	contributionTime = 10 * time.Minute // for it to arrive
)

type ceremonyInput struct {
	Body struct {
		Ceremony string `json:"ceremony,omitempty" pattern:"^([0-9a-f]{64})?$" patternDescription:"64 hexadecimal digits" doc:"Which; absent: the only one that this can be about"`
		Phase    int    `json:"phase,omitempty" minimum:"0" maximum:"2" doc:"Of contribute: the phase; 0 or absent: both"`
		Adopt    bool   `json:"adopt,omitempty" doc:"Of verify: take over what the coordinator verified. Mode demo only"`
	}
}

// submitInput takes a file as a stream.
type submitInput struct{ body io.Reader }

// Resolve keeps the stream and gives it its time.
func (in *submitInput) Resolve(ctx huma.Context) []error {
	in.body = ctx.BodyReader()
	_ = ctx.SetReadDeadline(time.Now().Add(contributionTime)) // unsupported only by test recorders
	return nil
}

func (s *Server) registerCeremony() {
	op := func(method, id, path, summary string, errors ...int) huma.Operation {
		return huma.Operation{OperationID: id, Method: method, Path: path, Tags: []string{"ceremony"}, Summary: summary,
			Errors: append([]int{401}, errors...), MaxBodyBytes: maxJSON, BodyReadTimeout: bodyTime}
	}
	huma.Register(s.api, op(http.MethodGet, "ceremonies", "/v1/ceremony", "List the key ceremonies and how they stand"),
		func(ctx context.Context, _ *struct{}) (*struct{ Body list[Ceremony] }, error) {
			found, err := s.o.Gateway.Ceremonies(ctx)
			if err != nil {
				return nil, s.fail("ceremonies", err)
			}
			return &struct{ Body list[Ceremony] }{listOf(found)}, nil
		})
	huma.Register(s.api, op(http.MethodGet, "ceremony", "/v1/ceremony/{ceremony}", "Get how a key ceremony stands", 404, 422),
		func(ctx context.Context, in *struct {
			Ceremony string `path:"ceremony" pattern:"^[0-9a-f]{64}$" patternDescription:"64 hexadecimal digits" doc:"SHA-256 of its opening"`
		}) (*struct{ Body *Ceremony }, error) {
			found, err := s.o.Gateway.Ceremony(ctx, in.Ceremony)
			if err != nil {
				return nil, s.fail("ceremony", err)
			}
			return &struct{ Body *Ceremony }{found}, nil
		})
	command := func(id, path, summary string, do func(context.Context, *ceremonyInput) (*Ceremony, error)) {
		huma.Register(s.api, op(http.MethodPost, id, path, summary, 404, 409, 422, 502),
			func(ctx context.Context, in *ceremonyInput) (*struct{ Body *Ceremony }, error) {
				found, err := do(ctx, in)
				if err != nil {
					return nil, s.fail(id, err)
				}
				return &struct{ Body *Ceremony }{found}, nil
			})
	}
	command("contribute", "/v1/ceremony/contribute", "Contribute when this member's turn comes; returns at once",
		func(ctx context.Context, in *ceremonyInput) (*Ceremony, error) {
			return s.o.Gateway.Contribute(ctx, in.Body.Ceremony, in.Body.Phase)
		})
	command("seal", "/v1/ceremony/seal", "As coordinator, close or seal the phase without waiting for those who are not there",
		func(ctx context.Context, in *ceremonyInput) (*Ceremony, error) {
			return s.o.Gateway.SealCeremony(ctx, in.Body.Ceremony)
		})
	command("verify-ceremony", "/v1/ceremony/verify", "Verify the whole transcript and store the keys; returns at once",
		func(ctx context.Context, in *ceremonyInput) (*Ceremony, error) {
			return s.o.Gateway.VerifyCeremony(ctx, in.Body.Ceremony, in.Body.Adopt)
		})
	huma.Register(s.api, op(http.MethodPost, "open-ceremony", "/v1/ceremony/open", "Open a key ceremony with this gateway as its coordinator", 409, 422),
		func(ctx context.Context, in *struct{ Body CeremonyOpening }) (*struct{ Body *Ceremony }, error) {
			found, err := s.o.Gateway.OpenCeremony(ctx, in.Body)
			if err != nil {
				return nil, s.fail("open-ceremony", err)
			}
			return &struct{ Body *Ceremony }{found}, nil
		})
	command("fetch-ceremony", "/v1/ceremony/fetch", "Complete this gateway's copy of a ceremony, for another machine; returns at once",
		func(ctx context.Context, in *ceremonyInput) (*Ceremony, error) {
			return s.o.Gateway.FetchCeremony(ctx, in.Body.Ceremony)
		})
	submit := op(http.MethodPost, "submit-contribution", "/v1/ceremony/submit", "Submit a contribution that was made on another machine; returns at once", 404, 409, 413, 422, 502)
	submit.RequestBody = &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{
		"application/octet-stream": {Schema: &huma.Schema{Type: huma.TypeString, Format: "binary"}}}}
	submit.Middlewares = huma.Middlewares{s.extend(contributionTime)}
	huma.Register(s.api, submit, func(ctx context.Context, in *submitInput) (*struct{ Body *Ceremony }, error) {
		file := &bounded{r: in.body, left: maxContribution}
		found, err := s.o.Gateway.SubmitContribution(ctx, file)
		if file.over {
			return nil, NewProblem(http.StatusRequestEntityTooLarge, CodeTooLarge, "the file is larger than any contribution")
		}
		if err != nil {
			return nil, s.fail("submit-contribution", err)
		}
		return &struct{ Body *Ceremony }{found}, nil
	})
}
