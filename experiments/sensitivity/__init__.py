"""Sensitivity: which of the uncertain numbers a conclusion hinges on."""
