package ec2

// Page tells how many instances an answer of DescribeInstances holds and where the next one starts.
func Page(out any) (instances int, token string) {
	page := out.(describeInstancesXML)
	return len(page.Reservations), page.NextToken
}
