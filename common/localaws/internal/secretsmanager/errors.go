package secretsmanager

import "github.com/rotatessh/rotatessh/common/localaws/internal/wire"

func notFound(msg string) error {
	return &wire.Error{Code: "ResourceNotFoundException", Message: msg}
}

func invalidRequest(msg string) error {
	return &wire.Error{Code: "InvalidRequestException", Message: msg}
}

func invalidParameter(msg string) error {
	return &wire.Error{Code: "InvalidParameterException", Message: msg}
}

func exists(msg string) error {
	return &wire.Error{Code: "ResourceExistsException", Message: msg}
}

func limitExceeded(msg string) error {
	return &wire.Error{Code: "LimitExceededException", Message: msg}
}

// invalidMember is the answer of AWS's generic input validation. It names the member, never its value:
// the value may be a secret.
func invalidMember(member, constraint string) error {
	return &wire.Error{Code: "ValidationException",
		Message: "1 validation error detected: Value at '" + member + "' failed to satisfy constraint: " + constraint}
}

func errNoSecret() error { return notFound("Secrets Manager can't find the specified secret.") }

func errNoValueForStage(stage string) error {
	return notFound("Secrets Manager can't find the specified secret value for staging label: " + stage)
}

func errNoValueForVersion(id string) error {
	return notFound("Secrets Manager can't find the specified secret value for VersionId: " + id)
}

func errMarkedForDeletion() error {
	return invalidRequest("You can't perform this operation on the secret because it was marked for deletion.")
}

func errTokenInUse(token, arn string) error {
	return exists("You can't use ClientRequestToken " + token +
		" because that value is already in use for a version of secret " + arn + ".")
}

func errCannotInvoke() error {
	return &wire.Error{Code: "AccessDeniedException",
		Message: "Secrets Manager cannot invoke the specified Lambda function. Ensure that the function policy grants access to the principal secretsmanager.amazonaws.com."}
}
