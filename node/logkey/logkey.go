// Package logkey is the one list of attribute keys in this gateway's logs.
//
// Messages are constants and everything variable is an attribute with a key from here. There is no key for a subject, a
// case, a record, a salt or a nonce, and none may be added: logs are read and shipped by people who must not learn them.
package logkey

const (
	Address    = "address"    // a network address of this gateway or a member
	Beat       = "beat"       // number of a receipts beat
	Ceremony   = "ceremony"   // beginning of a key ceremony's name
	Circuit    = "circuit"    // a circuit's id
	Code       = "code"       // stable reason or refusal code
	Dataset    = "dataset"    // a dataset's published name
	Directory  = "directory"  // a folder of this gateway
	Duration   = "duration"   // seconds
	Epoch      = "epoch"      // number of a dataset's epoch
	Error      = "error"      // an error's text; errors hold no personal data by rule
	Index      = "index"      // index of an entry in a log
	Kind       = "kind"       // kind of a request or an entry
	Member     = "member"     // a member's name
	Method     = "method"     // HTTP method
	Operation  = "operation"  // id of a REST operation, never the URL
	Origin     = "origin"     // origin of a log
	Policy     = "policy"     // name and version of a published policy
	Query      = "query"      // public query id
	Size       = "size"       // of a log in entries, of a message in bytes
	Stage      = "stage"      // a step of starting up
	Status     = "status"     // HTTP status
	Version    = "version"    // of this program
	Witness    = "witness"    // name of an outside witness's key
	Configured = "configured" // digest of the network configuration

	Configuration = "configuration" // version of the network configuration
)
