package api

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
)

// Programs is what the REST interface needs of a gateway that decides cases.
type Programs interface {
	// Programs lists the published programs of all members.
	Programs() []Program
	// Program returns one version of a program with its document; version 0: the newest in force.
	Program(member, name string, version int) (*ProgramDocument, error)
	PublishProgram(ctx context.Context, document []byte) (*PublishedProgram, error)
	RetireProgram(ctx context.Context, name string, version int, reason string) (Published, error)
	// Apply opens a case and waits until nothing more happens to it by itself, or ctx ends.
	Apply(ctx context.Context, a Application) (*Case, error)
	Cases(state string, limit int) []Case
	Case(id string) (*Case, error)
	// Decision returns the document of a decision; of the newest one, if round is negative.
	Decision(id string, round int) ([]byte, error)
	Contest(ctx context.Context, id, reason string) (*Case, error)
	Review(ctx context.Context, id string, r Review) (*Case, error)
}

// Program is a published program of any member.
type Program struct {
	Member  string `json:"member" doc:"Who decides by it"`
	Program string `json:"program"`
	Version int    `json:"version"`
	Title   string `json:"title"`
	Index   uint64 `json:"index" doc:"Index on the member's log"`
	Retired bool   `json:"retired"`
	Time    string `json:"time"`
}

// ProgramDocument is a program with what it asks and decides.
type ProgramDocument struct {
	Program
	Roles         []string       `json:"roles" doc:"Whose subject ids an application names"`
	Checks        []ProgramCheck `json:"checks"`
	Review        bool           `json:"review" doc:"A person decides each case"`
	Scope         string         `json:"scope,omitempty" doc:"Check and period of its claims"`
	NoticeSeconds int64          `json:"notice_seconds" doc:"From a decision to its effect"`
	Combinations  int            `json:"combinations" doc:"Of satisfied, not_satisfied and no_record over all checks"`
	Granted       int            `json:"granted" doc:"Of them, those that the rule grants"`
	Warnings      []string       `json:"warnings,omitempty"`
	Source        string         `json:"source" doc:"The document, YAML"`
}

// ProgramCheck is one question of a program.
type ProgramCheck struct {
	Name    string `json:"name"`
	Holder  string `json:"holder"`
	Policy  string `json:"policy"`
	Version int    `json:"version"`
	Subject string `json:"subject" doc:"Role"`
}

// PublishedProgram is a program that is final on this member's log.
type PublishedProgram struct {
	Published
	Program  string   `json:"program"`
	Version  int      `json:"version"`
	Warnings []string `json:"warnings,omitempty" doc:"What its author should look at"`
}

// Application asks for a decision.
type Application struct {
	Program     string            `json:"program" maxLength:"64" doc:"A program of this member"`
	Version     int               `json:"version,omitempty" minimum:"0" maximum:"1000000" doc:"0 or absent: the newest in force"`
	Application string            `json:"application,omitempty" maxLength:"256" doc:"Your own id of the application; the same again returns the same case. Not a person's name."`
	Subjects    map[string]string `json:"subjects" doc:"Subject id of each role of the program. Never logged."`
	Wait        int               `json:"wait,omitempty" minimum:"0" maximum:"600" doc:"Seconds to wait for the outcome; 0 or absent: the gateway's limit"`
}

// Case is an application and what came of it. It names nobody.
type Case struct {
	ID          string     `json:"case"`
	Program     string     `json:"program"`
	Version     int        `json:"version"`
	Application string     `json:"application,omitempty"`
	State       string     `json:"state" enum:"checking,needs_review,pending,decided,contested"`
	Opened      string     `json:"opened"`
	Checks      []Finding  `json:"checks" doc:"Those that are settled, in the program's order"`
	Reasons     []string   `json:"reasons,omitempty" doc:"Why a person has to decide, or had to"`
	Decisions   []Decision `json:"decisions" doc:"Oldest first; the last one holds unless the case is contested"`
	Contest     string     `json:"contest,omitempty" doc:"Reason of the contest that no decision has followed yet"`
	TotalMillis float64    `json:"total_ms,omitempty" doc:"Of a new case: from the application to this answer"`
	CheckMillis float64    `json:"checks_ms,omitempty" doc:"Of it, until all checks were settled"`
}

// Finding is what came of one check.
type Finding struct {
	Check   string `json:"check"`
	Outcome string `json:"outcome" enum:"answered,refused,rejected,unanswered,unaskable,claimed,spared"`
	Verdict string `json:"verdict,omitempty"`
	Code    string `json:"code,omitempty" doc:"Of a refusal or rejection"`
	Query   string `json:"query_id,omitempty"`
	Claim   string `json:"claim,omitempty" enum:"first,later,twice" doc:"Of a claim that is final; nothing is granted but with the first. twice: it is first, and another case of this member has it"`
}

// Decision is one decision of a case.
type Decision struct {
	Granted   bool   `json:"granted"`
	By        string `json:"by" enum:"rule,person"`
	Officer   string `json:"officer,omitempty"`
	Reason    string `json:"reason,omitempty"`
	Time      string `json:"time"`
	Effective string `json:"effective" doc:"When it takes effect: time and the program's notice"`
	Digest    string `json:"digest"`
	Index     uint64 `json:"index" doc:"Of its entry on this member's log, once final"`
	Final     bool   `json:"final"`
}

// Review is a person's decision.
type Review struct {
	Granted bool   `json:"granted"`
	Officer string `json:"officer" minLength:"1" maxLength:"256" doc:"The person's reference; it stands in the decision"`
	Reason  string `json:"reason" minLength:"1" maxLength:"1024" doc:"Stands in the decision"`
}

// CaseID names a case in a path. Its type is exported, since huma passes over embedded ones that are not.
type CaseID struct {
	ID string `path:"id" maxLength:"32" pattern:"^[0-9a-f]{32}$" patternDescription:"a case's id" doc:"Case id"`
}

func (s *Server) registerPrograms() {
	huma.Register(s.api, huma.Operation{
		OperationID: "programs", Method: http.MethodGet, Path: "/v1/programs", Tags: []string{"programs"},
		Summary: "List the published programs of all members", Errors: []int{401},
	}, func(context.Context, *struct{}) (*struct{ Body list[Program] }, error) {
		return &struct{ Body list[Program] }{listOf(s.o.Gateway.Programs())}, nil
	})

	huma.Register(s.api, huma.Operation{
		OperationID: "program", Method: http.MethodGet, Path: "/v1/programs/{name}", Tags: []string{"programs"},
		Summary: "Show a program: its checks, its rule and what the rule does", Errors: []int{401, 404},
	}, func(_ context.Context, in *struct {
		Name    string `path:"name" maxLength:"64" pattern:"^[a-z0-9][a-z0-9._-]*$" patternDescription:"a program's name" doc:"The program's name"`
		Member  string `query:"member" maxLength:"64" doc:"Whose program; absent: this member's"`
		Version int    `query:"version" minimum:"0" maximum:"1000000" doc:"0 or absent: the newest in force"`
	}) (*struct{ Body *ProgramDocument }, error) {
		p, err := s.o.Gateway.Program(in.Member, in.Name, in.Version)
		if err != nil {
			return nil, s.fail("program", err)
		}
		return &struct{ Body *ProgramDocument }{p}, nil
	})

	huma.Register(s.api, s.documentOperation("publish-program", "/v1/programs", "programs", "Check and publish a program"),
		func(ctx context.Context, in *document) (*struct{ Body *PublishedProgram }, error) {
			var out *PublishedProgram
			_, err := s.publish(ctx, "publish-program", func(ctx context.Context) (p Published, err error) {
				out, err = s.o.Gateway.PublishProgram(ctx, in.RawBody)
				return p, err
			})
			if err != nil {
				return nil, err
			}
			return &struct{ Body *PublishedProgram }{out}, nil
		})

	huma.Register(s.api, s.agreementOperation("retire-program", "/v1/programs/{name}/retire", "End a program version"),
		func(ctx context.Context, in *struct {
			Name string `path:"name" maxLength:"64" pattern:"^[a-z0-9][a-z0-9._-]*$" patternDescription:"a program's name" doc:"The program's name"`
			Body retirement
		}) (*published, error) {
			return s.publish(ctx, "retire-program", func(ctx context.Context) (Published, error) {
				return s.o.Gateway.RetireProgram(ctx, in.Name, in.Body.Version, in.Body.Reason)
			})
		})
	s.registerCases()
}

type retirement struct {
	Version int    `json:"version" minimum:"1" maximum:"1000000"`
	Reason  string `json:"reason" maxLength:"4096" doc:"Stands on the ledger, so no personal data"`
}

func (s *Server) registerCases() {
	huma.Register(s.api, s.caseOperation("apply", "/v1/cases", "Apply to a program: its checks are asked, and its rule decides"),
		func(ctx context.Context, in *struct{ Body Application }) (*struct{ Body *Case }, error) {
			wait := time.Duration(s.o.Limits.WaitSeconds) * time.Second
			if in.Body.Wait > s.o.Limits.WaitSeconds {
				return nil, NewProblem(http.StatusUnprocessableEntity, CodeInvalid, "wait is above this gateway's limits.wait_seconds")
			}
			if in.Body.Wait > 0 {
				wait = time.Duration(in.Body.Wait) * time.Second
			}
			return s.caseAfter(ctx, "apply", wait, func(ctx context.Context) (*Case, error) { return s.o.Gateway.Apply(ctx, in.Body) })
		})

	huma.Register(s.api, huma.Operation{
		OperationID: "cases", Method: http.MethodGet, Path: "/v1/cases", Tags: []string{"programs"},
		Summary: "List the newest cases, or those that wait for a person", Errors: []int{401},
	}, func(_ context.Context, in *struct {
		State string `query:"state" enum:"checking,needs_review,pending,decided,contested" doc:"Only those in this state"`
		Limit int    `query:"limit" default:"50" minimum:"1" maximum:"1000" doc:"How many, newest first"`
	}) (*struct{ Body list[Case] }, error) {
		return &struct{ Body list[Case] }{listOf(s.o.Gateway.Cases(in.State, in.Limit))}, nil
	})

	huma.Register(s.api, huma.Operation{
		OperationID: "case", Method: http.MethodGet, Path: "/v1/cases/{id}", Tags: []string{"programs"},
		Summary: "Show a case", Errors: []int{401, 404},
	}, func(_ context.Context, in *CaseID) (*struct{ Body *Case }, error) {
		c, err := s.o.Gateway.Case(in.ID)
		if err != nil {
			return nil, s.fail("case", err)
		}
		return &struct{ Body *Case }{c}, nil
	})

	huma.Register(s.api, huma.Operation{
		OperationID: "decision", Method: http.MethodGet, Path: "/v1/cases/{id}/decision", Tags: []string{"programs"},
		Summary:     "Get a decision with all its evidence",
		Description: "Verifies offline with `grille program verify`. It holds no record and no subject id.",
		Errors:      []int{401, 404, 409},
	}, func(_ context.Context, in *struct {
		CaseID
		Round int `query:"round" default:"-1" minimum:"-1" maximum:"15" doc:"Which decision, from 0; -1 or absent: the newest"`
	}) (*raw, error) {
		body, err := s.o.Gateway.Decision(in.ID, in.Round)
		if err != nil {
			return nil, s.fail("decision", err)
		}
		return &raw{ContentType: "application/json", Body: body}, nil
	})

	huma.Register(s.api, s.caseOperation("contest", "/v1/cases/{id}/contest", "Object to a decision: a person decides next"),
		func(ctx context.Context, in *struct {
			CaseID
			Body struct {
				Reason string `json:"reason" minLength:"1" maxLength:"1024" doc:"Stands in the decision that follows"`
			}
		}) (*struct{ Body *Case }, error) {
			return s.caseAfter(ctx, "contest", publishTime, func(ctx context.Context) (*Case, error) {
				return s.o.Gateway.Contest(ctx, in.ID, in.Body.Reason)
			})
		})

	huma.Register(s.api, s.caseOperation("review", "/v1/cases/{id}/review", "Decide a case as a person"),
		func(ctx context.Context, in *struct {
			CaseID
			Body Review
		}) (*struct{ Body *Case }, error) {
			return s.caseAfter(ctx, "review", publishTime, func(ctx context.Context) (*Case, error) {
				return s.o.Gateway.Review(ctx, in.ID, in.Body)
			})
		})
}

// caseOperation is what the steps of a case have in common.
func (s *Server) caseOperation(id, path, summary string) huma.Operation {
	longest := max(publishTime, time.Duration(s.o.Limits.WaitSeconds)*time.Second)
	return huma.Operation{
		OperationID: id, Method: http.MethodPost, Path: path, Tags: []string{"programs"}, Summary: summary,
		Description:  "Waits until nothing more happens to the case by itself; a case that is still under way is returned as it stands.",
		MaxBodyBytes: maxJSON, BodyReadTimeout: bodyTime, Middlewares: huma.Middlewares{s.extend(longest)},
		Errors: []int{400, 401, 404, 409, 413, 422, 503},
	}
}

// caseAfter gives a step of a case its time.
func (s *Server) caseAfter(ctx context.Context, operation string, wait time.Duration, step func(context.Context) (*Case, error)) (*struct{ Body *Case }, error) {
	waiting, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	c, err := step(waiting)
	if err != nil {
		return nil, s.fail(operation, err)
	}
	return &struct{ Body *Case }{c}, nil
}
