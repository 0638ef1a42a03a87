/* The views of the large figure by their name in the state. */

import { BreakingView } from "./breaking.js";
import { BridgeView } from "./bridge.js";
import { CollapseView } from "./collapse.js";
import { ConditionalView } from "./conditional.js";
import { CriticView } from "./critic.js";
import { DrawView } from "./draw.js";
import { EmbeddingsView } from "./embeddings.js";
import { MapsView } from "./maps.js";
import { ParticlesView } from "./particles.js";
import { ProfileView } from "./profile.js";
import { SandboxView } from "./sandbox.js";
import { SpectrumView } from "./spectrum.js";
import { VerdictsView } from "./verdicts.js";

/** A view without `uses` heeds every control of "Explore freely", any other those that it names. */
export const VIEWS = {
  maps: MapsView,
  draw: DrawView,
  collapse: CollapseView,
  spectrum: SpectrumView,
  critic: CriticView,
  particles: ParticlesView,
  profile: ProfileView,
  bridge: BridgeView,
  conditional: ConditionalView,
  embeddings: EmbeddingsView,
  breaking: BreakingView,
  sandbox: SandboxView,
  verdicts: VerdictsView,
};

/** The names of the views in the list of "Explore freely". */
export const NAMES = {
  maps: "energy landscapes",
  draw: "points of the mixture",
  collapse: "embeddings over training",
  spectrum: "eigenfunctions",
  critic: "pointwise mutual information",
  particles: "Langevin dynamics",
  profile: "energy between two modes",
  bridge: "noise and back",
  conditional: "hidden coordinate",
  embeddings: "embeddings of the images",
  breaking: "perturbed images",
  sandbox: "your own training",
  verdicts: "verdicts",
};
