package api

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
)

func (s *Server) registerAnswers() {
	s.registerAsk()
	s.registerResend()
	s.registerEvidence()
}

func (s *Server) registerAsk() {
	huma.Register(s.api, huma.Operation{
		OperationID: "ask", Method: http.MethodPost, Path: "/v1/queries", Tags: []string{"questions"},
		Summary: "Ask a holder one question about one subject",
		Description: "Waits for the verdict and verifies its evidence. A refusal of the holder is 403 with its stable code; " +
			"409 means that the verdict is not to be relied on.",
		MaxBodyBytes: maxJSON, BodyReadTimeout: bodyTime,
		Middlewares: huma.Middlewares{s.extend(time.Duration(s.o.Limits.WaitSeconds) * time.Second)},
		Errors:      []int{400, 401, 403, 404, 409, 413, 422, 502, 503, 504},
	}, func(ctx context.Context, in *struct{ Body Question }) (*struct{ Body *Answer }, error) {
		wait := time.Duration(s.o.Limits.WaitSeconds) * time.Second
		if in.Body.Wait > s.o.Limits.WaitSeconds {
			return nil, NewProblem(http.StatusUnprocessableEntity, CodeInvalid, "wait is above this gateway's limits.wait_seconds")
		}
		if in.Body.Wait > 0 {
			wait = time.Duration(in.Body.Wait) * time.Second
		}
		return s.await(ctx, "ask", wait, func(ctx context.Context) (*Answer, error) { return s.o.Gateway.Ask(ctx, in.Body) })
	})
}

func (s *Server) registerResend() {
	huma.Register(s.api, huma.Operation{
		OperationID: "resend", Method: http.MethodPost, Path: "/v1/queries/{id}", Tags: []string{"questions"},
		Summary:     "Send a question again that got no reply",
		Description: "The same signed bytes are sent: the holder answers and charges them once. Returns what came of it if it was answered.",
		Middlewares: huma.Middlewares{s.extend(time.Duration(s.o.Limits.WaitSeconds) * time.Second)},
		Errors:      []int{401, 403, 404, 409, 422, 502, 503, 504},
	}, func(ctx context.Context, in *struct {
		ID string `path:"id" maxLength:"64" pattern:"^[A-Za-z0-9_-]+$" patternDescription:"a query id" doc:"Query id"`
	}) (*struct{ Body *Answer }, error) {
		return s.await(ctx, "resend", time.Duration(s.o.Limits.WaitSeconds)*time.Second,
			func(ctx context.Context) (*Answer, error) { return s.o.Gateway.Resend(ctx, in.ID) })
	})
}

func (s *Server) registerEvidence() {
	huma.Register(s.api, huma.Operation{
		OperationID: "answer", Method: http.MethodGet, Path: "/v1/answers/{id}", Tags: []string{"questions"},
		Summary: "Get the evidence of an answer",
		Description: "The bundle verifies offline with `grille verify`. Without the opening it names nobody and can be shown; " +
			"with it, it says whom the answer is about.",
		Errors: []int{401, 404},
	}, func(ctx context.Context, in *struct {
		ID      string `path:"id" maxLength:"64" pattern:"^[A-Za-z0-9_-]+$" patternDescription:"a query id" doc:"Query id"`
		Opening bool   `query:"opening" doc:"Include subject id and nonce"`
	}) (*raw, error) {
		body, err := s.o.Gateway.Bundle(ctx, in.ID, in.Opening)
		if err != nil {
			return nil, s.fail("answer", err)
		}
		return &raw{ContentType: "application/json", Body: body}, nil
	})

	huma.Register(s.api, huma.Operation{
		OperationID: "answers", Method: http.MethodGet, Path: "/v1/answers", Tags: []string{"questions"},
		Summary: "List the newest questions asked by this gateway", Errors: []int{401},
	}, func(_ context.Context, in *struct {
		Limit int `query:"limit" default:"50" minimum:"1" maximum:"1000" doc:"How many, newest first"`
	}) (*struct{ Body list[AnswerSummary] }, error) {
		return &struct{ Body list[AnswerSummary] }{listOf(s.o.Gateway.Answers(in.Limit))}, nil
	})
}

// await gives a question its time.
func (s *Server) await(ctx context.Context, operation string, wait time.Duration, ask func(context.Context) (*Answer, error)) (*struct{ Body *Answer }, error) {
	waiting, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	answer, err := ask(waiting)
	var p *Problem
	if err != nil && !errors.As(err, &p) && waiting.Err() != nil {
		return nil, NewProblem(http.StatusGatewayTimeout, CodeTimeout, "no answer in time; ask again, or with a longer wait")
	}
	if err != nil {
		return nil, s.fail(operation, err)
	}
	return &struct{ Body *Answer }{answer}, nil
}

// list is a list in a body. It is an object so that fields can be added, and never null.
type list[T any] struct {
	Items []T `json:"items"`
}

func listOf[T any](items []T) list[T] {
	if items == nil {
		items = []T{}
	}
	return list[T]{items}
}

// raw is a body that is sent byte for byte.
type raw struct {
	ContentType string `header:"Content-Type"`
	Body        []byte
}

// extend gives one operation longer than replyTime to answer.
func (s *Server) extend(by time.Duration) func(huma.Context, func(huma.Context)) {
	return func(ctx huma.Context, next func(huma.Context)) {
		_, w := humago.Unwrap(ctx)
		_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(by + replyTime)) // unsupported only by test recorders
		next(ctx)
	}
}
