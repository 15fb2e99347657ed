package demo

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"
)

func accessFrom(url string, env []string) Access {
	a := Access{EndpointURL: url}
	for _, pair := range env {
		switch name, value, _ := strings.Cut(pair, "="); name {
		case "AWS_REGION":
			a.Region = value
		case "AWS_ACCESS_KEY_ID":
			a.AccessKeyID = value
		case "AWS_SECRET_ACCESS_KEY":
			a.SecretAccessKey = value
		}
	}
	return a
}

// Environment lists the variables with which the SDKs and the AWS CLI reach the endpoint, as NAME=value.
func (a Access) Environment() []string {
	return []string{
		"AWS_ENDPOINT_URL=" + a.EndpointURL,
		"AWS_REGION=" + a.Region,
		"AWS_DEFAULT_REGION=" + a.Region, // the name that older SDKs and version 1 of the AWS CLI read
		"AWS_ACCESS_KEY_ID=" + a.AccessKeyID,
		"AWS_SECRET_ACCESS_KEY=" + a.SecretAccessKey,
	}
}

// Command is a call of the AWS CLI for versions that do not know AWS_ENDPOINT_URL.
func (a Access) Command() string {
	return fmt.Sprintf("aws --endpoint-url %s --region %s secretsmanager list-secrets", a.EndpointURL, a.Region)
}

// greeting is how the SSH server on a port identifies itself, without the protocol's version.
func greeting(ctx context.Context, port int) (string, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if deadline, ok := ctx.Deadline(); ok {
		_ = conn.SetDeadline(deadline)
	}
	line, err := bufio.NewReader(conn).ReadString('\n')
	return strings.TrimPrefix(strings.TrimSpace(line), "SSH-2.0-"), err
}
