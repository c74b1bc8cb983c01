"""What coordinator and sites must agree on."""
