"""What a site tells of its privacy budget: to its officer, its engineer, an auditor, a peer."""
