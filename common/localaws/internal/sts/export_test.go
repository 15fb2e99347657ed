package sts

// Describe shows an answer's ARN and user id.
func Describe(out any) string {
	c := out.(callerIdentity)
	return c.Arn + " " + c.UserId
}
