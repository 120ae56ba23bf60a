"""Attribution methods beside LRP: one function a method, from a network to what makes its maps."""
