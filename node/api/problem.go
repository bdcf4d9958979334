package api

import (
	"errors"
	"net/http"
	"regexp"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/validation"
)

// Problem is an error body (RFC 9457). It names fields and remedies and never holds a part of the request.
type Problem struct {
	Title  string        `json:"title" doc:"Text of the HTTP status"`
	Status int           `json:"status" doc:"HTTP status"`
	Code   string        `json:"code" doc:"Stable code for programs"`
	Detail string        `json:"detail,omitempty" doc:"What happened and what to do"`
	Errors []Fault       `json:"errors,omitempty" doc:"One for each field"`
	Query  string        `json:"query_id,omitempty" doc:"Id of a question that was sent and has no reply yet: POST /v1/queries/{id} sends it again"`
	Report *ImportReport `json:"report,omitempty" doc:"What is wrong with an import: lines and columns, never values"`
}

// Fault is what is wrong with one field.
type Fault struct {
	Field   string `json:"field" doc:"Where, like body.holder"`
	Message string `json:"message" doc:"What would be right"`
}

// Error is the detail, for logs on this side.
func (p *Problem) Error() string {
	if p.Detail != "" {
		return p.Detail
	}
	return p.Title
}

// GetStatus and ContentType make a Problem an answer of huma's.
func (p *Problem) GetStatus() int { return p.Status }

func (p *Problem) ContentType(string) string { return "application/problem+json" }

// NewProblem makes a problem. code is stable; detail must not hold personal data.
func NewProblem(status int, code, detail string) *Problem {
	return &Problem{Title: http.StatusText(status), Status: status, Code: code, Detail: detail}
}

// Codes that this package makes itself.
const (
	CodeInvalid      = "invalid_request"
	CodeUnauthorized = "unauthorized"
	CodeNotFound     = "not_found"
	CodeTooLarge     = "too_large"
	CodeTimeout      = "timeout"
	CodeInternal     = "internal"
)

// huma makes its own errors through this one function. Its default echoes the rejected value, and with it a subject id.
func init() {
	huma.NewError = func(status int, message string, errs ...error) huma.StatusError {
		p := NewProblem(status, codeOf(status), humaDetail(status))
		for _, err := range errs {
			if err != nil {
				p.Errors = append(p.Errors, faultOf(err))
			}
		}
		return p
	}
}

func codeOf(status int) string {
	switch status {
	case http.StatusUnauthorized:
		return CodeUnauthorized
	case http.StatusNotFound:
		return CodeNotFound
	case http.StatusRequestEntityTooLarge:
		return CodeTooLarge
	case http.StatusRequestTimeout, http.StatusGatewayTimeout:
		return CodeTimeout
	}
	if status >= 500 {
		return CodeInternal
	}
	return CodeInvalid
}

func humaDetail(status int) string {
	switch status {
	case http.StatusRequestEntityTooLarge:
		return "the body is too large"
	case http.StatusRequestTimeout:
		return "the body did not arrive in time"
	case http.StatusUnsupportedMediaType:
		return "the content type is not one this operation reads; see /openapi.json"
	}
	if status >= 500 {
		return "internal error; the gateway's log says more"
	}
	return "the request is not as /openapi.json describes it"
}

// location is a path of field names as our own types spell them.
var location = regexp.MustCompile(`^(body|query|path|header)(\.[a-z][a-z_]{0,31}|\[[0-9]{1,5}\]){0,8}$`)

// faultOf keeps what huma says about a field without anything that the caller sent. Messages of its validator are made
// from our schema alone; any other text may quote the request.
func faultOf(err error) Fault {
	var detail *huma.ErrorDetail
	if !errors.As(err, &detail) {
		return Fault{Field: "body", Message: "cannot be read"}
	}
	f := Fault{Field: detail.Location, Message: "cannot be read"}
	if detail.Message == validation.MsgUnexpectedProperty { // its location ends in the property's name
		f.Field, _, _ = strings.Cut(f.Field, ".")
		f.Message = "has a property that is not known here"
	} else if strings.HasPrefix(detail.Message, "expected ") {
		f.Message = detail.Message
	} else if strings.HasPrefix(detail.Message, "required ") || strings.HasPrefix(detail.Message, "invalid ") {
		f.Message = strings.SplitN(detail.Message, ":", 2)[0]
	}
	if !location.MatchString(f.Field) {
		f.Field = "body"
	}
	return f
}
