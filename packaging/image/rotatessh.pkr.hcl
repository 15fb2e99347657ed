# Packer template: Amazon Linux 2023 with the RotateSSH agent.
#   packer init rotatessh.pkr.hcl
#   packer build -var package=../../dist/rotatessh-agent-1.0.0-1.aarch64.rpm rotatessh.pkr.hcl
packer {
  required_plugins {
    amazon = {
      source  = "github.com/hashicorp/amazon"
      version = ">= 1.3.0"
    }
  }
}

variable "package" {
  type        = string
  description = "The agent's RPM or DEB, on the machine that runs Packer."
}

variable "region" {
  type    = string
  default = "us-east-1"
}

variable "instance_type" {
  type    = string
  default = "t4g.small"
}

variable "architecture" {
  type        = string
  description = "arm64 or x86_64, as the package and the instance type."
  default     = "arm64"
}

variable "account" {
  type        = string
  description = "The account whose keys are managed."
  default     = "ec2-user"
}

source "amazon-ebs" "worker" {
  region        = var.region
  instance_type = var.instance_type
  ssh_username  = "ec2-user"
  ami_name      = "rotatessh-worker-${formatdate("YYYYMMDDhhmmss", timestamp())}"

  source_ami_filter {
    owners      = ["amazon"]
    most_recent = true
    filters = {
      name                = "al2023-ami-2023.*-${var.architecture}"
      virtualization-type = "hvm"
    }
  }

  # The agent asks IMDSv2 only.
  imds_support = "v2.0"
  metadata_options {
    http_endpoint = "enabled"
    http_tokens   = "required"
  }

  # Packer's own key must not stay in the image.
  ssh_clear_authorized_keys = true
}

build {
  sources = ["source.amazon-ebs.worker"]

  provisioner "file" {
    source      = var.package
    destination = "/tmp/${basename(var.package)}"
  }

  provisioner "file" {
    source      = "${path.root}/agent-in-image.sh"
    destination = "/tmp/agent-in-image.sh"
  }

  provisioner "shell" {
    inline = [
      "sudo sh /tmp/agent-in-image.sh '/tmp/${basename(var.package)}' '${var.account}'",
      "rm -f /tmp/agent-in-image.sh '/tmp/${basename(var.package)}'",
    ]
  }
}
